from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import cv2
import numpy as np
import pytest

from toolkit.device.app.pipeline.decoding import decode_frame
from toolkit.device.app.pipeline.messages import Frame
from toolkit.device.app.sources.base import SourceLost
from toolkit.device.app.sources.network import HttpCamera

JPEG = cv2.imencode(".jpg", np.full((48, 64, 3), 77, np.uint8))[1].tobytes()
PNG = cv2.imencode(".png", np.full((48, 64, 3), 77, np.uint8))[1].tobytes()
HALF = JPEG[: len(JPEG) // 2]
LENGTH = b"--f\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%b\r\n"
MJPEG = "multipart/x-mixed-replace; boundary="


class Camera(BaseHTTPRequestHandler):
    """A network camera; the path selects what it sends."""

    ANSWERS: ClassVar = {
        "/still.jpg": ("image/jpeg", JPEG),
        "/still.png": ("image/png", PNG),
        "/sized": (MJPEG + "f", b"".join(LENGTH % (len(one), one) for one in (JPEG, HALF, JPEG))),
        "/unsized": (MJPEG + '"--f"', b"".join(b"\r\n--f\r\n\r\n" + one for one in (JPEG, HALF, JPEG, b""))),
        "/page": ("text/html", b"<html></html>"),
        "/sound": ("audio/mpeg", b"ID3"),
        "/text": (MJPEG + "f", b"nothing\n" * 200),
        "/huge": (MJPEG + "f", b"--f\r\nContent-Length: 999999999\r\n\r\n"),
    }
    requests: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.requests.append(self.path)
        login = "Basic " + base64.b64encode(b"user:p@ss").decode()
        if self.path not in self.ANSWERS:
            self.send_error(404)
        elif "/still.png" in self.path and self.headers.get("Authorization") != login:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
            self.end_headers()
        else:
            kind, content = self.ANSWERS[self.path]
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def camera() -> Iterator[str]:
    """The address of a Camera, without the scheme."""
    Camera.requests.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Camera)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_still_image_is_polled(camera: str) -> None:
    source = HttpCamera(f"http://{camera}/still.jpg", 25)
    source.open()
    assert source.fps == 5
    assert [source.read() for _ in range(3)] == [JPEG] * 3
    assert Camera.requests == ["/still.jpg"] * 3
    source.close()


def test_still_image_is_read_with_the_login_of_its_address(camera: str) -> None:
    source = HttpCamera(f"http://user:p%40ss@{camera}/still.png", 2)
    source.open()
    assert source.fps == 2
    frame = source.read()
    assert not isinstance(frame, bytes)
    assert frame.shape == (48, 64, 3)
    assert "user" not in source.name


@pytest.mark.parametrize("path", ["sized", "unsized"])
def test_mjpeg_hands_on_damaged_frames_to_be_counted(camera: str, path: str) -> None:
    source = HttpCamera(f"http://{camera}/{path}", 25)
    source.open()
    assert source.fps is None
    first, half, third = (source.read() for _ in range(3))
    for whole in (first, third):
        assert isinstance(whole, bytes)
        assert whole.startswith(JPEG)
    with pytest.raises(ValueError, match="truncated JPEG"):
        decode_frame(Frame(1, 0, jpeg=half))
    with pytest.raises(SourceLost, match="ended the stream"):
        source.read()
    source.close()


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("gone", "the camera answers 404 Not Found"),
        ("still.png", "the camera requires a login"),
        ("page", "the camera sends text/html, no video"),
        ("sound", "the camera sends audio/mpeg, no video"),
        ("text", "does not send MJPEG"),
        ("huge", "more than 32 MB"),
    ],
)
def test_camera_that_cannot_be_read_is_lost_with_the_reason(camera: str, path: str, reason: str) -> None:
    source = HttpCamera(f"http://{camera}/{path}", 25)

    def read() -> None:
        source.open()
        source.read()

    with pytest.raises(SourceLost, match=reason):
        read()
    source.close()


def test_camera_names_why_it_cannot_be_reached(camera: str) -> None:
    for address, reason in (
        ("http://127.0.0.1:9/x", "port 9 refuses connections"),
        ("http://camera.invalid/x", "host name cannot be resolved"),
        (f"http://a:wrong@{camera}/still.png", "refuses user or password"),
    ):
        with pytest.raises(SourceLost, match=reason):
            HttpCamera(address, 25).open()
