"""An OCI registry (the distribution specification 1.1), by HTTP: what pulling a release and reporting about it needs.

HTTPS, except on loopback or where that is asked for. A registry that wants to know who asks says so: it is then message the
NAME:PASSWORD of a file ("Basic"), or a token that it names the place of ("Bearer"), which may be given to anybody.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from ..errors import DeviceEnvironmentError, DeviceError
from .receiver import MAX_CHUNK_BYTES

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
TRIES = 3
TIMEOUT_S = 30.0
_PAUSE_S = 1.0
_REFERENCE = re.compile(r"(?P<host>[^/]+)/(?P<name>[a-z0-9]+(?:[._/-]+[a-z0-9]+)*):(?P<tag>\w[\w.-]{0,127})", re.ASCII)
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_PASSING = (http.client.HTTPException, OSError)
"""What may be over when it is tried again."""


@dataclass(frozen=True)
class Registry:
    """One repository of a registry, and the channel in it."""

    host: str
    name: str
    tag: str
    credentials: str = ""
    """NAME:PASSWORD, or empty."""
    plain: bool = False
    """HTTP, unencrypted."""
    _authorization: List[str] = field(default_factory=list, init=False, repr=False, compare=False)
    """What the registry last wanted to be message, if anything."""

    @property
    def where(self) -> str:
        """As people write it."""
        return f"{self.host}/{self.name}:{self.tag}"

    def manifest(self) -> Dict[str, Any]:
        """What the channel holds.

        Raises:
            DeviceError: it holds nothing that can be read.
        """
        content = self._ask("GET", f"manifests/{self.tag}", headers={"Accept": MANIFEST})
        try:
            manifest: Dict[str, Any] = json.loads(content)
        except ValueError:
            manifest = {}
        if not _has_layers(manifest):
            raise DeviceError("holds no release", where=self.where, remedy="toolkit publish BUNDLE " + self.where)
        return manifest

    def blob(self, digest: str) -> bytes:
        """The bytes of that digest ("sha256:…").

        Raises:
            DeviceError: they are others, or cannot be had.
        """
        content = self._ask("GET", f"blobs/{digest}")
        if digest != oci_digest(content):
            raise DeviceError(
                f"gives other bytes than {digest}", where=self.where, remedy="see to the registry's storage"
            )
        return content

    def put_blob(self, content: bytes) -> Dict[str, Any]:
        """Store it, and give its descriptor without a media type.

        What is there is not written again: meanwhile, a registry refuses every manifest that names it.
        """
        digest = oci_digest(content)
        if not self._has(digest):
            location = self._ask("POST", "blobs/uploads/", b"", want="Location").decode()
            sign = "&" if "?" in location else "?"
            self._ask("PUT", f"{location}{sign}digest={digest}", content, {"Content-Type": "application/octet-stream"})
        return {"digest": digest, "size": len(content)}

    def _has(self, digest: str) -> bool:
        try:
            self._ask("HEAD", f"blobs/{digest}")
        except DeviceEnvironmentError:
            raise
        except DeviceError:
            return False
        return True

    def put_manifest(self, tag: str, manifest: Dict[str, Any]) -> None:
        """Under a tag of this repository."""
        self._ask("PUT", f"manifests/{tag}", json.dumps(manifest).encode(), {"Content-Type": MANIFEST})

    def _ask(
        self,
        method: str,
        place: str,
        body: Optional[bytes] = None,
        headers: Optional[Dict[str, str]] = None,
        want: str = "",
    ) -> bytes:
        """The answer, or one of its headers; asked again where that may help."""
        for attempt in range(TRIES):
            try:
                return self._authorized(method, place, body, headers or {}, want)
            except urllib.error.HTTPError as error:
                if error.code < 500:
                    raise _to_error(self, error) from None
                why = f"answers {error.code}"
            except _PASSING as error:
                why = f"does not answer: {getattr(error, 'reason', None) or str(error) or type(error).__name__}"
            if attempt + 1 < TRIES:
                time.sleep(_PAUSE_S * 2**attempt)
        raise DeviceEnvironmentError(
            why, where=self.host, remedy="it is tried again when the timer fires; see the network"
        )

    def _authorized(self, method: str, place: str, body: Optional[bytes], headers: Dict[str, str], want: str) -> bytes:
        """The answer; where the registry wants to know who asks, or has forgotten, it is asked once more with that."""
        try:
            return _send(self._request(method, place, body, headers), want)
        except urllib.error.HTTPError as error:
            if error.code != 401:
                raise
            message = self._login(error.headers.get("WWW-Authenticate", ""))
            if not message or message in self._authorization:
                raise
            self._authorization[:] = [message]
        return _send(self._request(method, place, body, headers), want)

    def _login(self, challenge: str) -> str:
        """What an Authorization header is to log (RFC 7617, or the distribution project's token protocol); "" if nothing can be said."""
        scheme, _, rest = challenge.partition(" ")
        basic = f"Basic {base64.b64encode(self.credentials.encode()).decode()}" if self.credentials else ""
        if scheme.lower() != "bearer":
            return basic
        wanted = urllib.request.parse_keqv_list(urllib.request.parse_http_list(rest))
        realm = wanted.pop("realm", "")
        if not realm.startswith("http://" if self._is_plain() else "https://"):
            return ""  # a password is not for everybody to read
        asked = [(name, wanted[name]) for name in ("service", "scope") if name in wanted]
        request = urllib.request.Request(f"{realm}{'&' if '?' in realm else '?'}{urllib.parse.urlencode(asked)}")  # noqa: S310 - see above
        if basic:
            request.add_unredirected_header("Authorization", basic)
        try:
            answer = json.loads(_send(request))
        except ValueError:
            answer = {}
        token = answer.get("token") or answer.get("access_token") if isinstance(answer, dict) else None
        return f"Bearer {token}" if token else ""

    def _is_plain(self) -> bool:
        return self.plain or (self.host.rpartition(":")[0] or self.host) in _LOOPBACK

    def _request(
        self, method: str, place: str, body: Optional[bytes], headers: Dict[str, str]
    ) -> urllib.request.Request:
        base = f"{'http' if self._is_plain() else 'https'}://{self.host}/v2/{self.name}/"
        request = urllib.request.Request(  # noqa: S310 - http or https, by the line above
            urllib.parse.urljoin(base, place), data=body, headers=headers, method=method
        )
        for message in self._authorization:  # unredirected: storage that the registry points to is none of its own
            request.add_unredirected_header("Authorization", message)
        return request


def _send(request: urllib.request.Request, want: str = "") -> bytes:
    """The body, or a header that is wanted."""
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310 - see Registry._request
        if want:
            return str(answer.headers[want]).encode()
        content: bytes = answer.read(16 * MAX_CHUNK_BYTES)
        return content


def parse_reference(reference: str, credentials: Optional[Path] = None, *, plain: bool = False) -> Registry:
    """From HOST[:PORT]/NAME:CHANNEL.

    Raises:
        DeviceError: it is none, or the file of the credentials cannot be read.
    """
    found = _REFERENCE.fullmatch(reference)
    if found is None:
        raise DeviceError("is no channel", where=reference, remedy="give HOST[:PORT]/NAME:CHANNEL")
    try:
        word = credentials.read_text(encoding="utf-8").strip() if credentials else ""
    except OSError as error:
        raise DeviceError(f"cannot be read: {error.strerror}", where=str(credentials)) from None
    return Registry(found["host"], found["name"], found["tag"], word, plain)


def _has_layers(manifest: Any) -> bool:
    layers = manifest.get("layers") if isinstance(manifest, dict) else None
    return isinstance(layers, list) and all(isinstance(layer, dict) and "digest" in layer for layer in layers)


def oci_digest(content: bytes) -> str:
    """As registries name bytes."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


def _to_error(registry: Registry, error: urllib.error.HTTPError) -> DeviceError:
    remedies: Dict[int, Tuple[str, str]] = {
        401: ("wants a login", "give a file with NAME:PASSWORD by --credentials"),
        403: ("refuses this login", "see who may read and write there"),
        404: ("is not there", f"toolkit publish BUNDLE {registry.where}"),
    }
    what, remedy = remedies.get(error.code, (f"answers {error.code}", "see the registry's log"))
    return DeviceError(what, where=registry.where, remedy=remedy)
