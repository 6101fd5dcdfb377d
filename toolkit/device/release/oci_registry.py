"""Client for an OCI registry (distribution specification 1.1): pulls a release and reports the device's state.

Uses HTTPS, except on loopback or if plain HTTP is requested. Logs in with NAME:PASSWORD from a file ("Basic") or a
token from the registry's token service ("Bearer"). Credentials are sent only to the registry's own scheme, host and
port, never to the target of a redirect.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import re
import ssl
import threading
import time
import urllib.parse
import urllib.request
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Collection, Deque, Dict, Iterable, List, Optional, Tuple

from ..errors import DeviceEnvironmentError, DeviceError
from .http_client import Answer, Credentials, HttpClient, origin_of

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONNECTIONS = 8
"""How many blobs are fetched at once: a small one takes little more than the way to the registry and back."""
BLOBS_PER_CONNECTION = 4
"""For fewer, another connection does not pay: a TLS handshake takes as long as two to three blobs."""
TRIES = 3
MAX_LAYERS = 200_000
_PAUSE_S = 1.0
_REFERENCE = re.compile(r"(?P<host>[^/]+)/(?P<name>[a-z0-9]+(?:[._/-]+[a-z0-9]+)*):(?P<tag>\w[\w.-]{0,127})", re.ASCII)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_RETRIED = (http.client.HTTPException, OSError)


class _NotFoundError(DeviceError):
    """The registry does not have the manifest or blob."""


@dataclass(frozen=True)
class Registry:
    """A repository of a registry, and a channel in it."""

    host: str
    name: str
    tag: str
    credentials: str = ""
    """NAME:PASSWORD, or empty."""
    plain: bool = False
    """Whether to use HTTP without TLS."""
    token_services: Tuple[str, ...] = ()
    """URLs of token services on other origins that may receive the credentials."""
    _authorization: List[Credentials] = field(default_factory=list, init=False, repr=False, compare=False)
    """The last login that the registry accepted, if any."""
    _client: HttpClient = field(default_factory=HttpClient, init=False, repr=False, compare=False)

    @property
    def where(self) -> str:
        """Return HOST/NAME:CHANNEL."""
        return f"{self.host}/{self.name}:{self.tag}"

    @property
    def channel(self) -> str:
        """Return the channel's name, the same on every mirror: NAME:CHANNEL."""
        return f"{self.name}:{self.tag}"

    @property
    def base_url(self) -> str:
        """Return the base URL of the repository."""
        return f"{'http' if self._is_plain() else 'https'}://{self.host}/v2/{self.name}/"

    def manifest(self) -> Dict[str, Any]:
        """Return the manifest of the channel.

        Raises:
            DeviceError: the manifest cannot be read, or is not of a release.
        """
        content = self._ask("GET", f"manifests/{self.tag}", headers={"Accept": MANIFEST}).body
        try:
            manifest: Any = json.loads(content)
        except (ValueError, RecursionError):
            manifest = None
        if not _has_layers(manifest):
            raise DeviceError("contains no release", where=self.where, remedy="toolkit publish BUNDLE " + self.where)
        result: Dict[str, Any] = manifest
        return result

    def blob(self, digest: str) -> bytes:
        """Return the bytes with this digest ("sha256:…").

        Raises:
            DeviceError: the blob cannot be fetched, or has another digest.
        """
        content = self._ask("GET", f"blobs/{digest}").body
        if digest != oci_digest(content):
            raise DeviceError(
                f"sends other bytes than {digest}", where=self.where, remedy="check the registry's storage"
            )
        return content

    def fetch_blobs(self, digests: Iterable[str], take: Callable[[str, bytes], None]) -> None:
        """Fetch blobs, many of them over several connections; `take` gets each, in the thread that fetched it.

        Raises:
            DeviceError: see `blob`; no further one is begun.
            Exception: what `take` raises.
        """
        waiting: Deque[str] = deque(dict.fromkeys(digests))
        errors: List[Exception] = []

        def work() -> None:
            while not errors:
                try:
                    digest = waiting.popleft()
                except IndexError:
                    return
                try:
                    take(digest, self.blob(digest))
                except Exception as error:  # noqa: BLE001 - raised again by the thread that waits
                    errors.append(error)

        def work_apart() -> None:
            try:
                work()
            finally:
                self.close()

        further = min(CONNECTIONS, len(waiting) // BLOBS_PER_CONNECTION) - 1
        threads = [threading.Thread(target=work_apart, daemon=True) for _ in range(further)]
        for thread in threads:
            thread.start()
        work()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]

    def put_blob(self, content: bytes) -> Dict[str, Any]:
        """Store a blob; return its descriptor without a media type.

        Existing blobs are not written again: while a blob is written, a registry refuses manifests that name it.
        """
        digest = oci_digest(content)
        if not self._has(digest):
            location = self._ask("POST", "blobs/uploads/", b"", accept=(202,)).headers.get("location", "")
            sign = "&" if "?" in location else "?"
            target = f"{location}{sign}digest={digest}"
            self._ask("PUT", target, content, {"Content-Type": "application/octet-stream"}, accept=(201,))
        return {"digest": digest, "size": len(content)}

    def _has(self, digest: str) -> bool:
        try:
            self._ask("HEAD", f"blobs/{digest}")
        except _NotFoundError:
            return False
        return True

    def put_manifest(self, tag: str, manifest: Dict[str, Any]) -> None:
        """Store a manifest under a tag of this repository."""
        content = json.dumps(manifest).encode()
        self._ask("PUT", f"manifests/{tag}", content, {"Content-Type": MANIFEST}, accept=(201,))

    def _ask(
        self,
        method: str,
        path: str,
        body: Optional[bytes] = None,
        headers: Optional[Dict[str, str]] = None,
        accept: Collection[int] = (200,),
    ) -> Answer:
        """Send a request and return the response; retry on network and server errors."""
        why = ""
        for attempt in range(TRIES):
            try:
                answer = self._authorized(method, path, body, headers or {})
            except _RETRIED as error:
                _raise_tls_error(self, error)
                why = f"does not answer: {str(error) or type(error).__name__}"
            except ValueError as error:
                raise DeviceError(f"names an address that is not valid: {error}", where=self.where) from None
            else:
                if answer.status in accept:
                    return answer
                if answer.status < 500:
                    raise _to_error(self, answer.status)
                why = f"answers {answer.status}"
            if attempt + 1 < TRIES:
                time.sleep(_PAUSE_S * 2**attempt)
        raise DeviceEnvironmentError(why, where=self.host, remedy="the timer tries again; check the network")

    def _authorized(self, method: str, path: str, body: Optional[bytes], headers: Dict[str, str]) -> Answer:
        """Send a request and return the response; if the registry requires a login, log in and retry once."""
        url, sent = urllib.parse.urljoin(self.base_url, path), next(iter(self._authorization), None)
        answer = self._client.request(method, url, body, headers, sent)
        if answer.status != 401 or origin_of(url) != origin_of(self.base_url):
            return answer
        login = self._login(answer.headers.get("www-authenticate", ""))
        if login is None or login == sent:
            return answer
        self._authorization[:] = [login]
        return self._client.request(method, url, body, headers, login)

    def _login(self, challenge: str) -> Optional[Credentials]:
        """Return a login by RFC 7617 or the distribution token protocol; None if none is possible.

        A token service on another origin receives the password only if the credentials file names it; otherwise it is
        asked for an anonymous token.
        """
        registry = origin_of(self.base_url)
        scheme, _, rest = challenge.partition(" ")
        basic = None
        if self.credentials:
            header = f"Basic {base64.b64encode(self.credentials.encode()).decode()}"
            basic = Credentials(registry, header)
        if scheme.lower() != "bearer":
            return basic
        fields = urllib.request.parse_keqv_list([item for item in urllib.request.parse_http_list(rest) if "=" in item])
        realm = fields.pop("realm", "")
        if origin_of(realm)[0] != registry[0]:
            return None
        if basic is not None and any(origin_of(trusted) == origin_of(realm) for trusted in self.token_services):
            basic = Credentials(origin_of(realm), basic.header)
        query = urllib.parse.urlencode([(name, fields[name]) for name in ("service", "scope") if name in fields])
        answer = self._client.request("GET", f"{realm}{'&' if '?' in realm else '?'}{query}", credentials=basic)
        try:
            document = json.loads(answer.body) if answer.status == 200 else {}
        except (ValueError, RecursionError):
            document = {}
        token = document.get("token") or document.get("access_token") if isinstance(document, dict) else None
        valid = isinstance(token, str) and re.fullmatch(r"[!-~]+", token)
        return Credentials(registry, f"Bearer {token}") if valid else None

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _is_plain(self) -> bool:
        return self.plain or (self.host.rpartition(":")[0] or self.host) in _LOOPBACK


def parse_reference(reference: str, credentials: Optional[Path] = None, *, plain: bool = False) -> Registry:
    """Return the registry of HOST[:PORT]/NAME:CHANNEL.

    The credentials file holds NAME:PASSWORD, then the URLs of token services that may receive it, one per line.

    Raises:
        DeviceError: the channel is not valid, or the credentials file cannot be read.
    """
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        raise DeviceError("is not a valid channel", where=reference, remedy="write it as HOST[:PORT]/NAME:CHANNEL")
    try:
        lines = credentials.read_text(encoding="utf-8").split("\n") if credentials else []
    except (OSError, ValueError) as error:
        raise DeviceError(f"cannot be read: {error}", where=str(credentials)) from None
    login, *token_services = [line.strip() for line in lines if line.strip()] or [""]
    registry = Registry(match["host"], match["name"], match["tag"], login, plain, tuple(token_services))
    try:
        for url in (registry.base_url, *token_services):
            origin_of(url)
    except ValueError as error:
        raise DeviceError(str(error), where=reference, remedy="write it as HOST[:PORT]/NAME:CHANNEL") from None
    return registry


def _has_layers(manifest: Any) -> bool:
    layers = manifest.get("layers") if isinstance(manifest, dict) else None
    return isinstance(layers, list) and len(layers) <= MAX_LAYERS and all(map(_is_layer, layers))


def _is_layer(layer: Any) -> bool:
    if not isinstance(layer, dict) or not isinstance(layer.get("annotations") or {}, dict):
        return False
    texts = [layer.get("digest"), layer.get("mediaType", ""), *(layer.get("annotations") or {}).values()]
    return all(isinstance(text, str) for text in texts) and bool(_DIGEST.fullmatch(layer["digest"]))


def oci_digest(content: bytes) -> str:
    """Return the digest of bytes in the notation of registries, "sha256:…"."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


def _raise_tls_error(registry: Registry, error: Exception) -> None:
    """Raise what keeps a registry from TLS, if trying again cannot help."""
    if isinstance(error, ssl.SSLCertVerificationError):
        remedy = "install the certificate of its authority in /usr/local/share/ca-certificates, then run update-ca-certificates"
        what = f"has a certificate that this machine does not trust: {error.verify_message}"
        raise DeviceError(what, where=registry.host, remedy=remedy)
    if isinstance(error, ssl.SSLError) and "WRONG_VERSION_NUMBER" in str(error):
        remedy = "give it a certificate, or allow plain HTTP: --plain-http, on devices runner_channel_plain_http: true"
        raise DeviceError("speaks plain HTTP, without TLS", where=registry.host, remedy=remedy)


def _to_error(registry: Registry, status: int) -> DeviceError:
    remedies: Dict[int, Tuple[str, str]] = {
        401: ("requires a login", "give a file with NAME:PASSWORD by --credentials"),
        403: ("refuses this login", "check who may read and write there"),
        404: ("does not exist", f"toolkit publish BUNDLE {registry.where}"),
    }
    what, remedy = remedies.get(status, (f"answers {status}", "see the registry's log"))
    return (_NotFoundError if status == 404 else DeviceError)(what, where=registry.where, remedy=remedy)
