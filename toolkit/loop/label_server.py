"""The labeling page: a server on loopback that requires the token in its URL.

    /TOKEN/                     the page, one file without external resources
    /TOKEN/items                captures and decisions as JSON
    /TOKEN/images/DIGEST.jpg    one capture
    /TOKEN/decide, /TOKEN/undo  POST with JSON

Without the token every path is not found. A request must name a loopback host, which rules out DNS rebinding, and a POST
must be JSON from this page's own origin. Headers, bodies, time and the number of connections are limited.
"""

from __future__ import annotations

import hmac
import json
import re
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from toolkit.captures import image_path
from toolkit.device.app.web.content_security import csp_header
from toolkit.loop.label_queue import LabelQueue
from toolkit.workspace import Workspace

MAX_BODY_BYTES = 1 << 20
MAX_CONNECTIONS = 32
TIMEOUT_S = 20
_IMAGE = re.compile(r"images/([0-9a-f]{64})\.jpg")
_PAGE = Path(__file__).with_name("label.html")


@contextmanager
def serve_labels(queue: LabelQueue, workspace: Workspace, port: int = 0) -> Iterator[str]:
    """Serve the page for the length of a with-block; gives its URL, which holds the token."""
    token = secrets.token_urlsafe(24)
    server = _Server(("127.0.0.1", port), queue, workspace, token)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/{token}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], queue: LabelQueue, workspace: Workspace, token: str) -> None:
        self.queue, self.workspace, self.token = queue, workspace, token
        self._free = threading.BoundedSemaphore(MAX_CONNECTIONS)
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Refuse a connection beyond the limit instead of starting one more thread."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer in a thread of its own, and free its place."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a browser that closes a connection is no event."""


class _Refused(Exception):  # noqa: N818 - an answer, not a failure
    """A request that is answered with a status and a text."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        self.status, self.text = status, text
        super().__init__(text)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = TIMEOUT_S
    server: _Server

    def version_string(self) -> str:
        """Return the name that the Server header gives."""
        return "toolkit"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Log nothing: a path holds the token."""

    def do_GET(self) -> None:
        """Answer with the page, the items or an image."""
        self._answer(self._get)

    def do_POST(self) -> None:
        """Record a decision, or undo one."""
        self._answer(self._post)

    def _answer(self, respond: Callable[[str], tuple[str, bytes]]) -> None:
        try:
            kind, body = respond(self._path())
            self._send(HTTPStatus.OK, kind, body)
        except _Refused as refused:
            self.close_connection = True  # a body may be left unread
            self._send(refused.status, "text/plain; charset=utf-8", f"{refused.text}\n".encode())
        except (TimeoutError, ConnectionError):
            self.close_connection = True

    def _path(self) -> str:
        """The path below the token.

        Raises:
            _Refused: another host, or no token.
        """
        host = f"127.0.0.1:{self.server.server_port}"
        if self.headers.get("Host") not in {host, host.replace("127.0.0.1", "localhost")}:
            raise _Refused(HTTPStatus.FORBIDDEN, "only 127.0.0.1 and localhost are served")
        token, _, path = urlsplit(self.path).path.removeprefix("/").partition("/")
        if not hmac.compare_digest(token.encode(), self.server.token.encode()):
            raise _Refused(HTTPStatus.NOT_FOUND, "not found")
        return path

    def _get(self, path: str) -> tuple[str, bytes]:
        if not path:
            return "text/html; charset=utf-8", _PAGE.read_bytes()
        if path == "items":
            return _json(self.server.queue.state())
        match = _IMAGE.fullmatch(path)
        if match is None or not self.server.queue.has_image(match[1]):
            raise _Refused(HTTPStatus.NOT_FOUND, "not found")
        try:
            return "image/jpeg", image_path(self.server.workspace, match[1]).read_bytes()
        except OSError:
            raise _Refused(HTTPStatus.NOT_FOUND, "the image is gone") from None

    def _post(self, path: str) -> tuple[str, bytes]:
        if path not in {"decide", "undo"}:
            raise _Refused(HTTPStatus.NOT_FOUND, "not found")
        content = self._body()
        if path == "undo":
            return _json(self.server.queue.undo())
        try:
            return _json(self.server.queue.decide(*(content.get(key) for key in ("captures", "verdict", "label"))))
        except ValueError as error:
            raise _Refused(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None

    def _body(self) -> dict[str, Any]:
        """The JSON object that was sent.

        Raises:
            _Refused: it comes from another site, is too large or is none.
        """
        if self.headers.get("Origin") not in {None, f"http://{self.headers['Host']}"}:
            raise _Refused(HTTPStatus.FORBIDDEN, "sent by another site")
        if self.headers.get_content_type() != "application/json":
            raise _Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "expected application/json")
        length = self.headers.get("Content-Length", "")
        if re.fullmatch(r"\d{1,9}", length, re.ASCII) is None:
            raise _Refused(HTTPStatus.LENGTH_REQUIRED, "expected Content-Length")
        if int(length) > MAX_BODY_BYTES:
            raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"larger than {MAX_BODY_BYTES} bytes")
        try:
            content = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, dict):
            raise _Refused(HTTPStatus.BAD_REQUEST, "expected a JSON object")
        return content

    def _send(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        if kind.startswith("text/html"):
            self.send_header("Content-Security-Policy", csp_header(body.decode()))
        else:
            self.send_header("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
        self.end_headers()
        self.wfile.write(body)


_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def _json(value: object) -> tuple[str, bytes]:
    return "application/json", json.dumps(value, ensure_ascii=False).encode()
