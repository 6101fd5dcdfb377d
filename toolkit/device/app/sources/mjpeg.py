"""Reader of an MJPEG stream over HTTP: the parts of a multipart/x-mixed-replace response (RFC 2046, 5.1)."""

from __future__ import annotations

import http.client
import re
from typing import Any, Optional

from .base import SourceLost

MOST_BYTES = 32 << 20
"""Largest image accepted."""
_LINE_BYTES, _MOST_LINES = 1 << 16, 100


class MjpegStream:
    """The images of an open response; cameras may leave out the content length and the dashes of the boundary."""

    def __init__(self, response: Any) -> None:
        self._response = response
        boundary = response.headers.get_param("boundary") or ""
        self._boundary = str(boundary).strip('"').lstrip("-").encode()
        self._at_part = False

    def next_image(self) -> bytes:
        """Return the next image as it was sent.

        Raises:
            SourceLost: the stream ends, is silent for some seconds, or is not MJPEG.
        """
        try:
            length = self._part_length()
            return self._until_boundary() if length is None else self._exactly(length)
        except (OSError, http.client.HTTPException) as error:
            raise SourceLost(f"gives no more frames: {str(error) or type(error).__name__}") from None

    def _part_length(self) -> Optional[int]:
        """Read the header of the next part; return its content length, if it names one."""
        for _ in range(_MOST_LINES):
            if self._at_part or self._is_boundary(self._line()):
                break
        else:
            raise SourceLost("does not send MJPEG: no part begins")
        self._at_part, length = False, None
        for _ in range(_MOST_LINES):
            line = self._line().strip()
            if not line:
                return length
            field = re.fullmatch(rb"(?i)content-length\s*:\s*(\d{1,9})", line)
            length = int(field[1]) if field else length
        raise SourceLost("does not send MJPEG: the header of a part does not end")

    def _is_boundary(self, line: bytes) -> bool:
        return line.startswith(b"--") and line.lstrip(b"-").startswith(self._boundary)

    def _line(self) -> bytes:
        line: bytes = self._response.readline(_LINE_BYTES)
        if not line:
            raise SourceLost("the camera ended the stream")
        return line

    def _exactly(self, length: int) -> bytes:
        if length > MOST_BYTES:
            raise SourceLost(f"a frame has more than {MOST_BYTES >> 20} MB")
        content: bytes = self._response.read(length)
        if len(content) < length:
            raise SourceLost("the camera ended the stream")
        return content

    def _until_boundary(self) -> bytes:
        content, at_line = bytearray(), True
        while len(content) <= MOST_BYTES:
            line = self._line()
            if at_line and self._is_boundary(line):
                self._at_part = True
                return bytes(content)
            at_line = line.endswith(b"\n")
            content += line
        raise SourceLost(f"a frame has more than {MOST_BYTES >> 20} MB")

    def close(self) -> None:
        """Close the connection."""
        self._response.close()
