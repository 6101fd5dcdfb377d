"""The recorder stores what the policy chose, and survives a disk that takes no more."""

from __future__ import annotations

import dataclasses
import errno
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.device.app.captures.test_policies import result
from toolkit.device.app.captures import recorder
from toolkit.device.app.captures.capture_folder import CaptureFolder
from toolkit.device.app.captures.capture_settings import CaptureLimits, CaptureSettings
from toolkit.device.app.captures.recorder import QUEUE_SIZE, CaptureRecorder
from toolkit.device.app.pipeline.messages import Classification, Frame
from toolkit.device.app.regions import Region
from toolkit.device.capture_record import CaptureRecord, read_record

Make = Callable[..., CaptureRecorder]


def frame(number: int) -> Classification:
    """Return an unsure result of a frame that no other has."""
    pixels = np.full((60, 80, 3), 200, np.uint8)
    pixels[:10, :10] = number % 200
    return dataclasses.replace(result(sure=0.5), frame=Frame(number, 0, pixels=pixels), score=0.25)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    running: list[CaptureRecorder] = []

    def call(
        masks: tuple[Region, ...] = (), folder: CaptureFolder | None = None, log: list[str] | None = None
    ) -> CaptureRecorder:
        limits = CaptureLimits(cool_down_s=0, reserve_mib=0)
        settings = CaptureSettings(tmp_path / "captures", limits, ("unsure",), masks)
        messages = [] if log is None else log
        running.append(CaptureRecorder(settings, "cam 1", messages.append, folder, lambda: True))
        return running[-1]

    yield call
    for each in running:
        each.end(10)


def stored(tmp_path: Path) -> dict[CaptureRecord, bytes]:
    images = sorted((tmp_path / "captures").glob("*/*.jpg"))
    return {read_record(image.with_suffix(".json").read_bytes(), image.stem): image.read_bytes() for image in images}


def test_results_become_images_with_a_record(tmp_path: Path, make: Make) -> None:
    captures = make()
    captures.start()
    captures.see(frame(1))
    captures.see(result(sure=0.99))
    assert captures.end(10)
    ((record, jpeg),) = stored(tmp_path).items()
    assert (record.policy, record.label, record.camera, record.release) == ("unsure", "a", "cam 1", "c" * 64)
    assert (record.confidence, record.probabilities, record.score) == (0.5, (0.5, 0.5), 0.25)
    assert record.clock_synchronized
    assert abs(time.time() - record.seconds()) < 60
    assert cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR).shape == (60, 80, 3)
    assert captures.state()["stored"] == captures.state()["held"] == 1


def test_one_output_becomes_two_probabilities(tmp_path: Path, make: Make) -> None:
    captures = make()
    captures.see(dataclasses.replace(frame(1), answer=np.array([0.4], np.float32)))
    captures.start()
    captures.end(10)
    assert next(iter(stored(tmp_path))).probabilities == (0.6, 0.4)


@pytest.mark.parametrize("as_jpeg", [False, True])
def test_masks_are_black_in_what_is_stored(tmp_path: Path, make: Make, as_jpeg: bool) -> None:
    """Also where the camera gives JPEGs, which are otherwise stored as they come."""
    seen = frame(150)
    if as_jpeg:
        jpeg = cv2.imencode(".jpg", seen.frame.pixels)[1].tobytes()
        seen = dataclasses.replace(seen, frame=Frame(1, 0, jpeg=jpeg))
    captures = make(masks=(Region(0, 0, 0.5, 1),))
    captures.see(seen)
    captures.start()
    captures.end(10)
    (content,) = stored(tmp_path).values()
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert pixels[:, :36].max() < 12
    assert pixels[:, 44:].min() > 180


def test_full_queue_drops_and_counts(tmp_path: Path, make: Make) -> None:
    captures = make()
    for number in range(QUEUE_SIZE + 3):
        captures.see(frame(number))
    captures.start()
    captures.end(10)
    assert (captures.state()["stored"], captures.state()["dropped"]) == (QUEUE_SIZE, 3)
    assert len(stored(tmp_path)) == QUEUE_SIZE


def test_the_same_image_is_stored_once(make: Make) -> None:
    captures = make()
    for _ in range(3):
        captures.see(frame(1))
    captures.start()
    captures.end(10)
    assert (captures.state()["stored"], captures.state()["duplicates"]) == (1, 2)


class Disk(CaptureFolder):
    """A folder on a disk that is full until it is not."""

    full = True

    def add(self, record: CaptureRecord, jpeg: bytes) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        super().add(record, jpeg)


def test_full_disk_is_counted_logged_once_and_overcome(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "PAUSE_S", 0.0)
    disk, log = Disk(tmp_path / "captures", CaptureLimits(reserve_mib=0)), list[str]()
    captures = make(folder=disk, log=log)
    for number in (1, 2):
        captures.see(frame(number))
    captures.start()
    wait_for(lambda: captures.state()["failed"] == 2)
    assert captures.state()["problem"] == "[Errno 28] No space left on device"
    assert len(log) == 1
    disk.full = False
    captures.see(frame(3))
    wait_for(lambda: captures.state()["stored"] == 1)
    assert captures.state()["problem"] is None


def test_nothing_is_stored_below_the_reserve(tmp_path: Path, make: Make) -> None:
    folder = CaptureFolder(tmp_path / "captures", CaptureLimits(reserve_mib=1), free_bytes=lambda _: 1000)
    captures = make(folder=folder)
    captures.see(frame(1))
    captures.start()
    captures.end(10)
    assert captures.state()["no_room"] == 1
    assert not stored(tmp_path)
    assert "MiB free" in captures.state()["problem"]


def test_a_folder_in_use_is_a_problem_not_an_end(tmp_path: Path, make: Make) -> None:
    other = CaptureFolder(tmp_path / "captures", CaptureLimits())
    other.open()
    captures = make()
    captures.see(frame(1))
    captures.start()
    wait_for(lambda: captures.problem is not None)
    assert "another app" in str(captures.problem)
    assert captures.is_alive()


def wait_for(condition: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(200):
        if condition():
            return
        pause.wait(0.05)
    raise AssertionError("it did not happen in ten seconds")
