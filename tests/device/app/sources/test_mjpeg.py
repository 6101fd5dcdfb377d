from __future__ import annotations

import io
from email.message import Message

import pytest

from toolkit.device.app.sources.base import SourceLost
from toolkit.device.app.sources.mjpeg import MOST_BYTES, MjpegStream


class Response(io.BytesIO):
    """An open response with a body of parts."""

    def __init__(self, body: bytes) -> None:
        super().__init__(body)
        self.headers = Message()
        self.headers["Content-Type"] = "multipart/x-mixed-replace; boundary=frame"


@pytest.mark.parametrize(
    ("length", "reason"), [(5, "the camera ended the stream"), (MOST_BYTES + 1, "a frame has more than 32 MB")]
)
def test_next_image_names_why_a_part_is_not_whole(length: int, reason: str) -> None:
    stream = MjpegStream(Response(f"--frame\r\nContent-Length: {length}\r\n\r\n".encode()))
    with pytest.raises(SourceLost, match=reason):
        stream.next_image()
