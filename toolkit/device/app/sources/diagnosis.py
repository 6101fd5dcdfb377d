"""Why a video file or a network camera cannot be opened; OpenCV gives no reason."""

from __future__ import annotations

import re
import socket
import ssl
import struct
from pathlib import Path
from typing import BinaryIO, Dict, Optional
from urllib.parse import SplitResult, urlsplit

TIMEOUT_S = 5.0
_MOST_BYTES = 65_536
_RTSP_PORT, _RTSPS_PORT = 554, 322
_RTSP_STATUS = re.compile(r"RTSP/\d\.\d (\d{3}) ?([^\r\n]{0,80})")
_AUDIO = {b"ID3": "MP3", b"fLaC": "FLAC", b"\xff\xfb": "MP3", b"\xff\xf1": "AAC", b"\xff\xf9": "AAC"}


def explain_file(path: Path) -> str:
    """Return why OpenCV reads no frame of a video file."""
    try:
        with path.open("rb") as stream:
            size = path.stat().st_size
            start = stream.read(4096)
            boxes = _boxes(stream, size) if start[4:8] == b"ftyp" else None
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if not start:
        return "is an empty file"
    if boxes is not None and b"moov" not in boxes:
        return "is truncated: its index (the moov box) is missing"
    return _explain_content(start, size, boxes)


def _explain_content(start: bytes, size: int, boxes: Optional[Dict[bytes, bytes]]) -> str:
    if boxes is not None and b"vide" not in boxes[b"moov"] and b"soun" in boxes[b"moov"]:
        return "contains audio only, no video"
    if start[:4] == b"RIFF" and start[8:12] == b"WAVE":
        return "contains audio only, no video (WAV)"
    if start[:4] == b"RIFF" and start[8:12] == b"AVI " and struct.unpack("<I", start[4:8])[0] + 8 > size:
        return "is truncated, and no frame of it can be decoded"
    audio = next((kind for magic, kind in _AUDIO.items() if start.startswith(magic)), None)
    if audio:
        return f"contains audio only, no video ({audio})"
    return "contains no video frame that can be decoded"


def _boxes(stream: BinaryIO, size: int) -> Dict[bytes, bytes]:
    """Return the start of each top-level box of an ISO media file by its type; a cut box is left out."""
    boxes: Dict[bytes, bytes] = {}
    at = 0
    while at + 8 <= size and len(boxes) < 64:
        stream.seek(at)
        header = stream.read(16)
        length, kind = struct.unpack(">I", header[:4])[0], header[4:8]
        if length == 1 and len(header) == 16:
            length = struct.unpack(">Q", header[8:])[0]
        length = length or size - at
        if length < 8 or at + length > size:
            break
        stream.seek(at)
        boxes[kind] = stream.read(min(length, 1 << 20))
        at += length
    return boxes


def explain_rtsp(address: str) -> str:
    """Return why OpenCV cannot open an rtsp(s) address: asks the server with DESCRIBE (RFC 2326)."""
    try:
        parts = urlsplit(address)
        port = parts.port or (_RTSPS_PORT if parts.scheme == "rtsps" else _RTSP_PORT)
    except ValueError as error:
        return f"is not a valid address: {error}"
    try:
        answer = _describe(parts, port)
    except OSError as error:
        return explain_connection(error, port)
    status = _RTSP_STATUS.match(answer)
    if status is None:
        return f"port {port} answers, but not with RTSP"
    if status[1] != "200":
        return explain_status(int(status[1]), status[2].strip(), login=bool(parts.username))
    media = re.findall(r"^m=(\w+)", answer, re.MULTILINE)
    if media and "video" not in media:
        return f"the camera sends {' and '.join(sorted(set(media)))} only, no video"
    return "the camera answers, but no video frame of it can be decoded"


def _describe(parts: SplitResult, port: int) -> str:
    """Return the answer to a DESCRIBE request without credentials."""
    host = parts.hostname or ""
    target = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    request = f"DESCRIBE {target} RTSP/1.0\r\nCSeq: 1\r\nAccept: application/sdp\r\n\r\n"
    with socket.create_connection((host, port), TIMEOUT_S) as plain:
        if parts.scheme == "rtsps":
            with _unverified().wrap_socket(plain, server_hostname=host) as connection:
                return _exchange(connection, request)
        return _exchange(plain, request)


def _unverified() -> ssl.SSLContext:
    """Return a TLS context like that of OpenCV's FFmpeg, which verifies no certificate; no secret is sent over it."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _exchange(connection: socket.socket, request: str) -> str:
    """Send a request; return the header of the answer with its body, if that has a length."""
    connection.sendall(request.encode())
    content, complete = b"", 0
    while len(content) < _MOST_BYTES and (not complete or len(content) < complete):
        block = connection.recv(4096)
        if not block:
            break
        content += block
        head, end, _ = content.partition(b"\r\n\r\n")
        if end:
            length = re.search(rb"(?i)^content-length: *(\d{1,6})", head, re.MULTILINE)
            complete = len(head) + 4 + (int(length[1]) if length else 0)
    return content.decode("utf-8", "replace")


def explain_status(code: int, reason: str, *, login: bool) -> str:
    """Return what a camera's status means, in HTTP as in RTSP; `login`: whether the address has a user."""
    if code == 401:
        return "the camera refuses user or password (401)" if login else "the camera requires a login (401)"
    return f"the camera answers {code} {reason}".rstrip()


def explain_connection(error: OSError, port: int) -> str:
    """Return why no connection to a camera's port was made."""
    if isinstance(error, socket.gaierror):
        return "the host name cannot be resolved"
    if isinstance(error, ConnectionRefusedError):
        return f"port {port} refuses connections"
    if isinstance(error, (socket.timeout, TimeoutError)):
        return f"port {port} did not answer within {TIMEOUT_S:g} s"
    return f"port {port} cannot be reached: {error.strerror or error}"
