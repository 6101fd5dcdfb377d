from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.fakes import picamera2 as fake_picamera2
from toolkit.device.app.pipeline.capture import FrameCapture
from toolkit.device.app.pipeline.messages import Counters, DropOldestQueue, Frame
from toolkit.device.app.sources import make_source, opencv
from toolkit.device.app.sources.base import (
    CaptureOptions,
    Pace,
    RawFrame,
    Source,
    SourceLost,
    redact_address,
)
from toolkit.device.errors import DeviceError

WISH = CaptureOptions(64, 48, 30)


def size(taken: RawFrame) -> tuple[int, ...]:
    if isinstance(taken, bytes):
        return cv2.imdecode(np.frombuffer(taken, np.uint8), cv2.IMREAD_COLOR).shape
    return taken.shape


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "gray.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for level in (20, 120, 220):
        writer.write(np.full((48, 64, 3), level, np.uint8))
    writer.release()
    return path


def read(word: str, count: int) -> list[RawFrame]:
    source = make_source(word, WISH)
    assert source is not None
    source.open()
    taken = [source.read() for _ in range(count)]
    source.close()
    return taken


def test_pattern_moves_from_dark_to_light() -> None:
    images = [cv2.imdecode(np.frombuffer(one, np.uint8), cv2.IMREAD_COLOR) for one in read("pattern", 101)]
    assert images[0].shape == (480, 640, 3)
    assert images[0].mean() < 90
    assert images[75].mean() > 160
    assert np.array_equal(images[0], images[100])
    assert not np.array_equal(images[0], images[1])


def test_folder_gives_its_images_by_name_again_and_again(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "b.jpg"), np.full((8, 10, 3), 200, np.uint8))
    cv2.imwrite(str(tmp_path / "a.png"), np.full((6, 4, 3), (255, 0, 0), np.uint8))
    (tmp_path / "notes.txt").write_text("no image")
    first, second, third = read(str(tmp_path), 3)
    assert (size(first), size(second), size(third)) == ((6, 4, 3), (8, 10, 3), (6, 4, 3))
    assert isinstance(second, bytes)
    assert not isinstance(first, bytes)
    assert first[0, 0].tolist() == [255, 0, 0]


def test_folder_is_lost_when_it_holds_no_image(tmp_path: Path) -> None:
    with pytest.raises(SourceLost, match="no image"):
        read(str(tmp_path), 1)


def test_video_begins_again_when_it_ends(video: Path) -> None:
    levels = [round(float(np.mean(one)), -1) for one in read(str(video), 5)]
    assert levels == [20, 120, 220, 20, 120]


def test_camera_says_so_when_it_is_not_there() -> None:
    with pytest.raises(SourceLost, match="is not there"):
        read("/dev/video99", 1)
    assert make_source("7", WISH).name == "/dev/video7"


@pytest.mark.parametrize("compressed", [True, False])
def test_camera_gives_jpegs_as_they_are_when_it_compresses(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, compressed: bool
) -> None:
    """A stand-in for cv2.VideoCapture, as no V4L2 device is to be had here."""
    image = np.frombuffer(b"\xff\xd8 jpeg \xff\xd9", np.uint8).reshape(1, -1)
    if not compressed:
        image = np.zeros((48, 64, 3), np.uint8)

    class FrameCapture:
        def __init__(self, path: str, api: int) -> None:
            self.values: dict[int, float] = {}

        def isOpened(self) -> bool:  # noqa: N802
            return True

        def set(self, name: int, value: float) -> bool:
            self.values[name] = value
            return True

        def get(self, name: int) -> float:
            return self.values[name] if compressed else 0

        def read(self) -> tuple[bool, np.ndarray]:
            assert self.values[cv2.CAP_PROP_CONVERT_RGB] == (0 if compressed else 1)
            return True, image

        def release(self) -> None:
            pass

    monkeypatch.setattr(opencv.cv2, "VideoCapture", FrameCapture)
    camera = opencv.Camera(str(tmp_path), WISH)
    camera.open()
    taken = camera.read()
    camera.close()
    assert taken == image.tobytes() if compressed else taken is image


def test_picamera_is_lost_when_its_package_is_missing() -> None:
    with pytest.raises(SourceLost, match="apt-get install python3-picamera2"):
        read("picamera", 1)


@pytest.fixture
def picamera2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", None)
    fake_picamera2.install()
    monkeypatch.setattr(fake_picamera2.Picamera2, "frames", 2)


def test_picamera_gives_blue_green_red_and_is_lost_when_it_hangs(picamera2: object) -> None:
    assert [size(one) for one in read("picamera", 2)] == [(48, 64, 3)] * 2
    with pytest.raises(SourceLost, match="TimeoutError"):
        read("picamera", 3)
    with pytest.raises(SourceLost, match="cannot be opened"):
        read("picamera:1", 1)


@pytest.fixture
def mjpeg() -> Iterator[str]:
    """A network camera: an HTTP server that sends MJPEG."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=f")
            self.end_headers()
            _, jpeg = cv2.imencode(".jpg", np.full((48, 64, 3), 77, np.uint8))
            try:
                for _ in itertools.repeat(None):
                    self.wfile.write(b"--f\r\nContent-Type: image/jpeg\r\n\r\n" + jpeg.tobytes() + b"\r\n")
            except OSError:
                pass

        def log_message(self, *argv: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://user:secret@127.0.0.1:{server.server_port}/live?key=secret"
    server.shutdown()
    server.server_close()


def test_network_camera_is_read_and_keeps_its_password(mjpeg: str, tmp_path: Path) -> None:
    (tmp_path / "camera").write_text(mjpeg + "\n")
    source = make_source(f"@{tmp_path / 'camera'}", WISH)
    assert source is not None
    source.open()
    assert size(source.read()) == (48, 64, 3)
    source.close()
    assert "secret" not in source.name


def test_network_camera_is_lost_when_nobody_answers() -> None:
    with pytest.raises(SourceLost, match="port 9 refuses connections"):
        read("rtsp://127.0.0.1:9/live", 1)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp://u:p@camera.example/live?a=b", "rtsp://camera.example/live"),
        ("rtsp://camera.example/live", "rtsp://camera.example/live"),
        ("http://u:p@w/d@camera.example/x", "http://w/d@camera.example/x"),
    ],
)
def test_without_password_shows_the_host_alone(address: str, shown: str) -> None:
    assert redact_address(address) == shown


def test_make_source_names_what_is_no_source(tmp_path: Path) -> None:
    assert make_source("none", WISH) is None
    with pytest.raises(DeviceError, match="neither a camera nor a file"):
        make_source("/no/such/file.mp4", WISH)
    with pytest.raises(DeviceError, match="cannot be read"):
        make_source("@/no/such/file", WISH)
    (tmp_path / "empty").write_text("")
    with pytest.raises(DeviceError, match="names no source"):
        make_source(f"@{tmp_path / 'empty'}", WISH)


def test_pace_lets_frames_through_one_after_the_other() -> None:
    pace = Pace(10)
    assert pace.delay_s() == 0
    assert 0.05 < pace.delay_s() <= 0.1
    assert 0.15 < pace.delay_s() <= 0.2
    assert [Pace(0).delay_s() for _ in range(3)] == [0, 0, 0]


class Flaky:
    """Three frames at a time, then it is lost; the second time it cannot be opened at all."""

    name, live, fps = "flaky", True, None

    def __init__(self, taken: RawFrame) -> None:
        self.taken, self.opened, self.left = taken, 0, 0

    def open(self) -> None:
        self.opened += 1
        if self.opened == 2:
            raise SourceLost("is not there")
        self.left = 3

    def read(self) -> RawFrame:
        if not self.left:
            raise OSError("unplugged")
        self.left -= 1
        return self.taken

    def close(self) -> None:
        pass


@pytest.fixture
def capture(
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[..., tuple[FrameCapture, DropOldestQueue[Frame], list[str]]]]:
    """capture(source, fps): one that has begun, its queue, and what it says."""
    monkeypatch.setattr("toolkit.device.app.pipeline.capture.FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr("toolkit.device.app.pipeline.capture.LONGEST_PAUSE_S", 0.02)
    started: list[FrameCapture] = []

    def begin(
        source: Source, fps: float = 0, capacity: int = 100
    ) -> tuple[FrameCapture, DropOldestQueue[Frame], list[str]]:
        between: DropOldestQueue[Frame] = DropOldestQueue(capacity)
        messages: list[str] = []
        started.append(FrameCapture(source, between, Counters(), messages.append, fps))
        started[-1].start()
        return started[-1], between, messages

    yield begin
    for one in started:
        one.stop()
        one.join(60)
        assert not one.is_alive()


def test_capture_opens_a_camera_again_when_it_was_lost(capture: Callable[..., tuple]) -> None:
    source = Flaky(b"jpeg")
    _, between, messages = capture(source)
    frames = [between.take(10) for _ in range(9)]
    assert [frame.number for frame in frames] == list(range(1, 10))
    assert messages[:4] == [
        "camera flaky: frames come",
        "camera flaky: OSError: unplugged; trying again",
        "camera flaky: is not there; trying again",
        "camera flaky: frames come again",
    ]
    assert source.opened >= 4


def test_capture_drops_nothing_when_the_source_can_wait(capture: Callable[..., tuple], tmp_path: Path) -> None:
    jpegs = [cv2.imencode(".jpg", np.full((8, 8, 3), 40 * level, np.uint8))[1].tobytes() for level in range(5)]
    for number, jpeg in enumerate(jpegs):
        (tmp_path / f"{number}.jpg").write_bytes(jpeg)
    source = make_source(str(tmp_path), WISH)
    _, between, _ = capture(source, fps=0, capacity=2)
    frames = [between.take(10) for _ in range(12)]
    assert [frame.jpeg for frame in frames] == [jpegs[number % 5] for number in range(12)]
    assert between.dropped == 0
