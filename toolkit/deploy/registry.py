"""An OCI registry (the distribution specification 1.1), by HTTP: what publishing needs.

HTTPS, except on loopback or where that is asked for. Login is by NAME:PASSWORD from a file; bearer tokens are not asked for.
"""

from __future__ import annotations

import base64
import http.client
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from toolkit import digests
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
        kind = http.client.HTTPConnection if plain or loopback else http.client.HTTPSConnection
        self._connection = kind(channel.host, timeout=_TIMEOUT_S)
        self._headers = _login(credentials)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def has_blob(self, digest: str) -> bool:
        """Whether the repository holds these bytes already."""
        return self._ask("HEAD", f"blobs/{digest}", accept={200, 404})[0] == 200

    def put_blob(self, content: bytes) -> None:
        """Store the bytes, by one request after the one that asks where."""
        _, headers, _ = self._ask("POST", "blobs/uploads/", accept={202})
        place = urlsplit(headers["location"])
        sign = "&" if place.query else "?"
        target = f"{place.path}{'?' + place.query if place.query else ''}{sign}digest={digest_of(content)}"
        self._ask("PUT", target, content, {"Content-Type": "application/octet-stream"}, accept={201})

    def blob(self, digest: str) -> bytes:
        """The bytes of a digest."""
        return self._ask("GET", f"blobs/{digest}")[2]

    def put_manifest(self, manifest: Mapping[str, Any]) -> str:
        """Make it what the channel holds; gives its digest."""
        content = digests.canonical_json(manifest)
        self._ask("PUT", f"manifests/{self._channel.tag}", content, {"Content-Type": MANIFEST}, accept={201})
        return digest_of(content)

    def manifest(self, tag: str) -> tuple[str, dict[str, Any]]:
        """What a tag holds, and its digest; "" and nothing where there is no such tag."""
        code, _, content = self._ask("GET", f"manifests/{tag}", headers={"Accept": MANIFEST}, accept={200, 404})
        return (digest_of(content), json.loads(content)) if code == 200 else ("", {})

    def tags(self) -> list[str]:
        """All tags of the repository."""
        return list(json.loads(self._ask("GET", "tags/list")[2])["tags"] or ())

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
        path = place if place.startswith("/") else f"/v2/{self._channel.name}/{place}"
        try:
            self._connection.request(method, path, body, {**self._headers, **(headers or {})})
            answer = self._connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            what = f"does not answer: {str(error) or type(error).__name__}"
            raise FleetError(what, where=self._channel.host, remedy="see that it runs; what arrived is kept") from None
        if answer.status not in (accept or {200}):
            what = f"answers {answer.status} to {method} {path}: {content[:200].decode(errors='replace').strip()}"
            remedy = _REMEDIES.get(answer.status, "see the registry's log")
            raise FleetError(what, where=self._channel.host, remedy=remedy)
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, content


def _login(credentials: Path | None) -> dict[str, str]:
    if credentials is None:
        return {}
    try:
        word = credentials.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", where=str(credentials)) from None
    return {"Authorization": f"Basic {base64.b64encode(word.encode()).decode()}"}


def digest_of(content: bytes) -> str:
    """As registries name bytes."""
    return f"sha256:{digests.of_bytes(content)}"
