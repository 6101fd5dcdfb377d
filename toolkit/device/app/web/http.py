"""HTTP/1.1 requests and responses: persistent connections and bodies with a Content-Length; no chunked bodies.

Requests that violate RFC 9112 are refused, because an ambiguous request can be used for request smuggling.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import struct
import time
from dataclasses import dataclass, field
from typing import Any, Awaitable, Callable, Dict, Optional, Tuple

HEAD_BYTES = 16_384
BODY_BYTES = 12_000_000
"""Size of a 12-megapixel JPEG of the best quality."""
HEAD_S, IDLE_S, STALL_S, SEND_S = 10.0, 60.0, 10.0, 20.0
"""Time limits: for a head, until the next request, for a body that stops, for a client that does not read."""
SLOW_AFTER_S, SLOWEST_BYTES_S = 5.0, 20_000
"""Slowest allowed rate of a body, checked once it has taken SLOW_AFTER_S."""
BODIES_BYTES = 64_000_000
"""Limit of all request bodies held in memory at the same time."""
_REQUEST_LINE = re.compile(rb"([A-Z]{1,20}) (/[!-~]{0,2000}) HTTP/1\.([01])")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t -~\x80-\xff]*?)[ \t]*")
_REASONS = {
    200: "OK", 202: "Accepted", 303: "See Other", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found",
    405: "Method Not Allowed", 408: "Request Timeout", 409: "Conflict", 411: "Length Required", 413: "Content Too Large",
    415: "Unsupported Media Type", 421: "Misdirected Request", 422: "Unprocessable Content", 429: "Too Many Requests",
    431: "Request Header Fields Too Large", 500: "Internal Server Error", 501: "Not Implemented", 503: "Service Unavailable",
    504: "Gateway Timeout",
}  # fmt: skip
DEFAULT_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
Stream = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class HttpError(Exception):
    """A refused request: the status, the problem, the remedy, and headers of the response."""

    def __init__(self, status: int, what: str, remedy: str = "", **headers: str) -> None:
        super().__init__(what)
        self.status, self.what, self.remedy = status, what, remedy
        self.as_text = False
        """Whether the client expects the error as one text, as in the Open Inference Protocol."""
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def response(self) -> Response:
        """Return the response for the client."""
        text = f"{self.what}: {self.remedy}" if self.remedy else self.what
        error = text if self.as_text else {"what": self.what, "remedy": self.remedy}
        return json_response({"error": error}, self.status, self.headers)


class BodyMemory:
    """Counts the bytes of all request bodies in memory; for one event loop."""

    def __init__(self, limit: int = BODIES_BYTES) -> None:
        self._left = limit

    def take(self, size: int) -> None:
        """Reserve bytes, or release them with a negative size.

        Raises:
            HttpError: the limit is exceeded; the bytes count until they are released all the same.
        """
        self._left -= size
        if size > 0 and self._left < 0:
            raise HttpError(503, "too many bodies are being received", Retry_After="5")


@dataclass
class Request:
    """One request; its body is read only when a route calls `body`."""

    method: str
    path: str
    headers: Dict[str, str]
    peer: str
    """The client's address."""
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    keeps: bool
    """Whether the client keeps the connection open for another request."""
    unread: int = 0
    """Bytes of the body that were not read yet."""
    memory: BodyMemory = field(default_factory=BodyMemory)
    held: int = 0
    """Bytes of the body reserved in `memory`."""

    async def body(self) -> bytes:
        """Return the whole body.

        Raises:
            HttpError: the body is too large, has no length or arrives too slowly, or too many bodies are in memory.
        """
        if "content-length" not in self.headers:
            raise HttpError(411, "the body has no length", "send a Content-Length")
        if self.unread > BODY_BYTES:
            raise HttpError(
                413, f"the body has {self.unread} bytes, above the limit of {BODY_BYTES}", "send a smaller image"
            )
        if self.headers.get("expect", "").lower() == "100-continue":
            self.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        content, begin = bytearray(), time.monotonic()
        while self.unread:
            block = await self._block(len(content), time.monotonic() - begin)
            content += block
            self.unread -= len(block)
        return bytes(content)

    async def _block(self, received: int, elapsed_s: float) -> bytes:
        if elapsed_s > SLOW_AFTER_S and received < elapsed_s * SLOWEST_BYTES_S:
            raise HttpError(408, f"the body arrives at less than {SLOWEST_BYTES_S} bytes a second")
        try:
            block = await asyncio.wait_for(self.reader.read(min(self.unread, 65_536)), STALL_S)
        except asyncio.TimeoutError:
            raise HttpError(408, f"no byte of the body arrived for {STALL_S:g} s") from None
        if not block:
            raise asyncio.IncompleteReadError(b"", self.unread)
        self.held += len(block)
        self.memory.take(len(block))
        return block

    def release(self) -> None:
        """Release the memory reserved for the body."""
        self.memory.take(-self.held)
        self.held = 0


@dataclass
class Response:
    """A response with a whole body, or with `stream`, which writes until it ends; then the connection is closed."""

    status: int
    headers: Dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    stream: Optional[Stream] = None

    def head(self, *, keeps: bool) -> bytes:
        """Return the status line and all headers."""
        fields = {**DEFAULT_HEADERS, **self.headers}
        if self.stream is None:
            fields["Content-Length"] = str(len(self.body))
        fields["Connection"] = "keep-alive" if keeps else "close"
        lines = [
            f"HTTP/1.1 {self.status} {_REASONS[self.status]}",
            *(f"{name}: {value}" for name, value in fields.items()),
        ]
        return "\r\n".join((*lines, "", "")).encode("latin-1")


def reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection at once; without a reset, the kernel would hold what the client does not read for minutes."""
    connection = writer.get_extra_info("socket")
    if connection is not None:
        with contextlib.suppress(OSError):  # it is closed already
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def json_response(value: Any, status: int = 200, headers: Optional[Dict[str, str]] = None) -> Response:
    """Return a response with a JSON document."""
    body = json.dumps(value, allow_nan=False).encode()
    return Response(status, {"Content-Type": "application/json", **(headers or {})}, body)


def json_object(content: bytes) -> Dict[str, Any]:
    """Return the JSON object in a body.

    Raises:
        HttpError: it is not JSON, or not an object.
    """
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        raise HttpError(400, "not a JSON document") from None
    if not isinstance(value, dict):
        raise HttpError(422, "not a JSON object")
    return value


async def read_request(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: str, memory: BodyMemory
) -> Optional[Request]:
    """Return the next request on a connection; None if the client closed it or sent nothing for IDLE_S.

    Raises:
        HttpError: the request is malformed or too long; the connection must be closed.
    """
    try:
        first = await asyncio.wait_for(reader.read(1), IDLE_S)
        if not first:
            return None
        head = first + await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), HEAD_S)
    except asyncio.TimeoutError:
        return None
    except asyncio.IncompleteReadError:
        return None
    except asyncio.LimitOverrunError:
        raise HttpError(431, f"the request's head has more than {HEAD_BYTES} bytes") from None
    method, path, version, headers = parse_head(head)
    keeps = headers.get("connection", "").lower() != "close" and version == 1
    return Request(method, path, headers, peer, reader, writer, keeps, body_length(headers), memory)


def parse_head(head: bytes) -> Tuple[str, str, int, Dict[str, str]]:
    """Return the method, the path without its query, the minor version, and the fields by lower-case name.

    Raises:
        HttpError: the head is malformed, or repeats a field that must be unique.
    """
    first, *lines = head[: -len(b"\r\n\r\n")].split(b"\r\n")
    line = _REQUEST_LINE.fullmatch(first)
    if line is None:
        raise HttpError(400, "the request line is malformed")
    headers: Dict[str, str] = {}
    for text in lines:
        match = _FIELD.fullmatch(text)
        if match is None:
            raise HttpError(400, "a header field is malformed")
        name, value = match.group(1).decode("ascii").lower(), match.group(2).decode("latin-1")
        if name in headers and name in ("host", "content-length", "transfer-encoding", "authorization", "content-type"):
            raise HttpError(400, f"the field {name} occurs twice")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    version = int(line.group(3))
    if version == 1 and "host" not in headers:
        raise HttpError(400, "the field host is missing")
    return line.group(1).decode("ascii"), line.group(2).decode("ascii").partition("?")[0], version, headers


def body_length(headers: Dict[str, str]) -> int:
    """Return the Content-Length; 0 without one.

    Raises:
        HttpError: it is not a number, or the body is chunked.
    """
    if "transfer-encoding" in headers:
        raise HttpError(501, "chunked request bodies are not supported", "send a Content-Length")
    length = headers.get("content-length", "0")
    if not re.fullmatch(r"[0-9]{1,15}", length):
        raise HttpError(400, "the field content-length is not a number")
    return int(length)
