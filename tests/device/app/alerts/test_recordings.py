from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from toolkit.device.app.alerts import recordings
from toolkit.device.app.alerts.recordings import MIB, Recorder, RecordingFolder, RecordingSettings, as_avi
from toolkit.device.app.pipeline.messages import Frame, now_ns

SECOND = 10**9


def image(level: int) -> np.ndarray:
    return np.full((48, 64, 3), level, np.uint8)


def jpeg(level: int) -> bytes:
    return bytes(cv2.imencode(".jpg", image(level))[1])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def until(condition: Any) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow
def test_an_alert_leaves_its_image_and_the_seconds_around_it(tmp_path: Path) -> None:
    folder, log = tmp_path / "recordings", []
    recorder = Recorder(RecordingSettings(str(folder), before_s=0.5, after_s=0.5, fps=20), log.append)
    recorder.start()
    raised = None
    for number in range(60):
        frame = Frame(number, now_ns(), pixels=image(40 if number < 30 else 220))
        recorder.see(frame)
        if number == 35:
            raised = recorder.record({"alert": "No mask!", "label": "x"}, frame)
        time.sleep(0.05)
    assert raised is not None
    until((folder / f"{raised}.avi").exists)
    assert recorder.end(5)
    assert names(folder) == [f"{raised}.avi", f"{raised}.jpg", f"{raised}.json"]
    assert raised.endswith("Z-no-mask")
    assert json.loads((folder / f"{raised}.json").read_text()) == {
        "alert": "No mask!",
        "label": "x",
        "recording": raised,
    }
    assert cv2.imread(str(folder / f"{raised}.jpg")).mean() > 200
    video = cv2.VideoCapture(str(folder / f"{raised}.avi"), cv2.CAP_OPENCV_MJPEG)
    levels = []
    while True:
        read, shown = video.read()
        if not read:
            break
        levels.append(float(shown.mean()))
    assert levels[0] < 60  # from before the alert
    assert levels[-1] > 200
    assert 0.6 <= (len(levels) - 1) / video.get(cv2.CAP_PROP_FPS) <= 1.4
    assert (recorder.problem, log) == (None, [])


def test_the_oldest_recordings_make_room(tmp_path: Path) -> None:
    folder = RecordingFolder(RecordingSettings(str(tmp_path), quota_mib=1, reserve_mib=0))
    (tmp_path / "notes.txt").write_bytes(bytes(MIB))  # not ours
    (tmp_path / ".20260101T000000.000Z-x.avi.part").write_bytes(b"left by an app that was killed")
    for day in range(1, 6):
        folder.add(f"2026010{day}T000000.000Z-x", ".avi", bytes(300_000))
        folder.add(f"2026010{day}T000000.000Z-x", ".json", bytes(1000))
    recorded = [name for name in names(tmp_path) if name != "notes.txt"]
    assert recorded == [f"2026010{day}T000000.000Z-x{suffix}" for day in (3, 4, 5) for suffix in (".avi", ".json")]
    with pytest.raises(OSError, match=r"the quota of 1 MiB has no room for 1\.1 MiB"):
        folder.add("20260106T000000.000Z-x", ".avi", bytes(1_200_000))


def test_a_full_disk_is_logged_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []
    free = shutil.disk_usage(tmp_path)._replace(free=MIB)
    monkeypatch.setattr(recordings.shutil, "disk_usage", lambda _: free)
    recorder = Recorder(RecordingSettings(str(tmp_path), fps=0), log.append)
    recorder.start()
    for _ in range(3):
        assert recorder.record({"alert": "x"}, Frame(1, now_ns(), pixels=image(1)))
    until(lambda: recorder.problem)
    assert recorder.end(5)
    assert log == ["recordings: the disk has less than 256 MiB free"]
    assert names(tmp_path) == []


def test_frames_in_memory_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recordings, "RING_BYTES", 10 * len(jpeg(9)))
    recorder = Recorder(RecordingSettings(str(tmp_path), before_s=60), print)
    for number in range(50):
        recorder._add(Frame(number, number * SECOND, jpeg=jpeg(9)))
    assert len(recorder._ring) == 10


def test_a_clip_of_damaged_frames_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no frame of the clip can be decoded"):
        as_avi([(0, b"\xff\xd8"), (SECOND, b"")], str(tmp_path))
    assert as_avi([(0, jpeg(9))], str(tmp_path)).startswith(b"RIFF")
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (RecordingSettings("x"), "folder: x is not an absolute path"),
        (RecordingSettings("/x", before_s=61), "before_s: 61 is not from 0 to 60 seconds"),
        (RecordingSettings("/x", fps=31), "fps: 31 is not from 0 to 30"),
        (RecordingSettings("/x", quota_mib=0), "quota_mib: 0 is not from 1 to 1000000"),
        (RecordingSettings("/x", reserve_mib=-1), "reserve_mib: -1 is not from 0 to 1000000"),
    ],
)
def test_settings_that_do_not_fit_are_named(settings: RecordingSettings, problem: str) -> None:
    assert list(settings.problems()) == [problem]
