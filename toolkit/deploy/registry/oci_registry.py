"""An OCI registry (the distribution specification 1.1), by HTTP: what publishing needs.

HTTPS, except on loopback or where that is asked for. A registry that wants to know who asks says so: it is then told the
NAME:PASSWORD of a file ("Basic"), or a token that it names the place of ("Bearer"), which may be given to anybody.
"""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase, HTTPBasicAuth
from requests.utils import parse_dict_header, parse_header_links

from toolkit import hashing
from toolkit.errors import FleetError, UsageError

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_REFERENCE = re.compile(r"(?P<host>[^/]+)/(?P<name>[a-z0-9]+(?:[._/-]+[a-z0-9]+)*):(?P<tag>\w[\w.-]{0,127})", re.ASCII)
_LOOPBACK = {"127.0.0.1", "localhost", "[::1]"}
_TIMEOUT_S = 60.0
_REMEDIES = {
    401: "it wants a login: --credentials FILE, which holds NAME:PASSWORD",
    403: "see who may write there",
    404: "check the name; publish first",
}


@dataclass(frozen=True, slots=True)
class Channel:
    """Where a release is published: a tag of a repository of a registry."""

    host: str
    name: str
    tag: str

    @classmethod
    def parse(cls, text: str) -> Channel:
        """From HOST[:PORT]/NAME:CHANNEL.

        Raises:
            UsageError: it is none.
        """
        found = _REFERENCE.fullmatch(text)
        if found is None:
            raise UsageError("is no channel", where=text, remedy="give HOST[:PORT]/NAME:CHANNEL")
        return cls(found["host"], found["name"], found["tag"])

    def __str__(self) -> str:
        return f"{self.host}/{self.name}:{self.tag}"


class Registry:
    """One connection to the registry of a channel; for a with-block."""

    def __init__(self, channel: Channel, credentials: Path | None = None, *, plain: bool = False) -> None:
        self._channel = channel
        loopback = (channel.host.rpartition(":")[0] or channel.host) in _LOOPBACK
        self._scheme = "http" if plain or loopback else "https"
        self._base = f"{self._scheme}://{channel.host}/v2/{channel.name}/"
        self._login = _login(credentials)
        self._session = requests.Session()
        self._session.trust_env = not loopback  # no proxy of the environment leads back here
        self._session.auth = _Told()
        self._session.mount("https://", _SystemTrust())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.close()

    def has_blob(self, digest: str) -> bool:
        """Whether the repository holds these bytes already."""
        return self._ask("HEAD", f"blobs/{digest}", accept={200, 404})[0] == 200

    def put_blob(self, content: bytes) -> None:
        """Store the bytes, by one request after the one that asks where."""
        _, headers, _ = self._ask("POST", "blobs/uploads/", accept={202})
        place = headers["location"]
        target = f"{place}{'&' if '?' in place else '?'}digest={digest_of(content)}"
        self._ask("PUT", target, content, {"Content-Type": "application/octet-stream"}, accept={201})

    def blob(self, digest: str) -> bytes:
        """The bytes of a digest."""
        return self._ask("GET", f"blobs/{digest}")[2]

    def put_manifest(self, manifest: Mapping[str, Any]) -> str:
        """Make it what the channel holds; gives its digest."""
        content = hashing.canonical_json(manifest)
        self._ask("PUT", f"manifests/{self._channel.tag}", content, {"Content-Type": MANIFEST}, accept={201})
        return digest_of(content)

    def manifest(self, tag: str) -> tuple[str, dict[str, Any]]:
        """What a tag holds, and its digest; "" and nothing where there is no such tag."""
        code, _, content = self._ask("GET", f"manifests/{tag}", headers={"Accept": MANIFEST}, accept={200, 404})
        return (digest_of(content), json.loads(content)) if code == 200 else ("", {})

    def tags(self) -> list[str]:
        """All tags of the repository, of as many pages as the registry has for them."""
        found: list[str] = []
        place: str | None = "tags/list"
        while place is not None:
            _, headers, content = self._ask("GET", place)
            found += json.loads(content)["tags"] or ()
            place = next(
                (link["url"] for link in parse_header_links(headers.get("link", "")) if link.get("rel") == "next"), None
            )
        return found

    def _ask(
        self,
        method: str,
        place: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        accept: set[int] | None = None,
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers by their names in lower case, and body.

        Raises:
            FleetError: it cannot be reached, or answers otherwise than one of `accept`.
        """
        url = urljoin(self._base, place)
        try:
            answer = self._authorized(method, url, body, headers or {})
        except (OSError, requests.RequestException) as error:
            what = f"does not answer: {_reason(error)}"
            raise FleetError(what, where=self._channel.host, remedy="see that it runs; what arrived is kept") from None
        if answer.status_code not in (accept or {200}):
            what = f"answers {answer.status_code} to {method} {urlsplit(url).path}: {answer.text[:200].strip()}"
            remedy = _REMEDIES.get(answer.status_code, "see the registry's log")
            raise FleetError(what, where=self._channel.host, remedy=remedy)
        return answer.status_code, {name.lower(): value for name, value in answer.headers.items()}, answer.content

    def _authorized(self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]) -> requests.Response:
        """The answer; where the registry wants to know who asks, or has forgotten, it is asked once more with that."""

        def ask() -> requests.Response:
            return self._session.request(method, url, data=body, headers=dict(headers), timeout=_TIMEOUT_S)

        answer = ask()
        if answer.status_code != 401:
            return answer
        told = self._answer_to(answer.headers.get("WWW-Authenticate", ""))
        if told is None or told == self._session.auth:
            return answer
        self._session.auth = told
        return ask()

    def _answer_to(self, challenge: str) -> AuthBase | None:
        """What the registry is to be told from now on (RFC 7617, or the distribution project's token protocol)."""
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() != "bearer":
            return self._login
        wanted = parse_dict_header(rest)
        realm = wanted.get("realm") or ""
        if not realm.startswith(f"{self._scheme}://"):
            return None  # a password is not for everybody to read
        asked = {name: wanted[name] for name in ("service", "scope") if name in wanted}
        answer = self._session.get(realm, params=asked, auth=self._login or _Told(), timeout=_TIMEOUT_S)
        if not answer.ok:
            return None
        given = answer.json()
        token = given.get("token") or given.get("access_token")
        return _Told(f"Bearer {token}") if token else None


class _SystemTrust(HTTPAdapter):
    """Trusts whom this machine does (SSL_CERT_FILE included), not only whom requests brings along."""

    def init_poolmanager(self, *arguments: Any, **words: Any) -> None:
        super().init_poolmanager(*arguments, **words, ssl_context=ssl.create_default_context())


@dataclass(frozen=True, slots=True)
class _Told(AuthBase):
    """An Authorization header; "" is none, and keeps passwords of a ~/.netrc from being sent."""

    header: str = ""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self.header:
            request.headers["Authorization"] = self.header
        return request


def _login(credentials: Path | None) -> HTTPBasicAuth | None:
    if credentials is None:
        return None
    try:
        name, _, password = credentials.read_text(encoding="utf-8").strip().partition(":")
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", where=str(credentials)) from None
    return HTTPBasicAuth(name.encode(), password.encode())


def _reason(error: BaseException) -> str:
    """The innermost one's; the others repeat each other's words."""
    while error.__context__ is not None:
        error = error.__context__
    return str(error) or type(error).__name__


def digest_of(content: bytes) -> str:
    """As registries name bytes."""
    return f"sha256:{hashing.sha256_bytes(content)}"
