"""The monitor: sketches of days, what is stored, and what the app shows."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from tests.device.app.captures.test_policies import Clock, result
from toolkit.convert.training_embedding import describe_images
from toolkit.device.app.drift import monitor
from toolkit.device.app.drift.drift_settings import DriftNumbers, DriftSettings, read_drift_settings
from toolkit.device.app.drift.embedding import TrainingDistance
from toolkit.device.app.drift.monitor import DAYS, DriftMonitor, RecentMeans
from toolkit.device.app.pipeline.messages import Classification
from toolkit.device.errors import DeviceError

NUMBERS = DriftNumbers(reference_hours=0, reference_blocks=20, block_frames=10, frames_per_false_alarm=10_000)


def frame(level: int, **changes: object) -> Classification:
    pixels = np.random.default_rng(1).integers(level, level + 40, (32, 32, 3), np.uint8)
    return dataclasses.replace(result(), fitted=pixels, **changes)  # type: ignore[arg-type]


def make(folder: Path, events: list[tuple[str, str]], numbers: DriftNumbers = NUMBERS) -> DriftMonitor:
    return DriftMonitor(
        DriftSettings(folder, numbers), lambda _: None, lambda signal, event, _: events.append((signal, event)), Clock()
    )


def test_monitor_raises_and_sketches(tmp_path: Path) -> None:
    events: list[tuple[str, str]] = []
    watching = make(tmp_path, events)
    for _ in range(200):
        watching.see(frame(50))
    assert watching.state()["learned"] == 1
    for _ in range(20):
        watching.see(frame(150))
    assert events == [("brightness", "raised")]
    assert watching.state()["raised"] == ["brightness"]
    ((day, sketch),) = watching.days().items()
    assert len(day) == 10
    assert (sketch["frames"], sketch["classes"], sum(sketch["confidence"])) == (220, {"a": 220}, 220)


def test_reference_and_sketches_survive_a_restart(tmp_path: Path) -> None:
    first = make(tmp_path / "captures", [])
    for _ in range(200):
        first.see(frame(50))
    first.save()
    again = make(tmp_path / "captures", [])
    again.see(frame(50))
    assert again.state()["learned"] == 1
    assert next(iter(again.days().values()))["frames"] == 201
    again.see(frame(50, release="other"))
    assert again.state()["learned"] == 0


def test_distance_is_that_of_each_release(tmp_path: Path) -> None:
    """A release without figures of its training images is watched without it."""
    training = np.stack([frame(50 + number // 3).fitted for number in range(60)])
    known = TrainingDistance(describe_images(training))
    watching = DriftMonitor(
        DriftSettings(tmp_path, NUMBERS), lambda _: None, lambda *_: None, Clock(), {"c" * 64: known}.get
    )
    for _ in range(210):
        watching.see(frame(60))
    assert watching.state()["recent"]["means"]["distance"] < 2
    assert "distance" in watching.state()["deviations"]
    for _ in range(210):
        watching.see(frame(60, release="d" * 64))
    assert "distance" not in watching.state()["deviations"]
    assert watching.state()["learned"] == 1


@pytest.mark.parametrize("content", ["", "[]", '{"release": 1}', '{"days": {"x": {}}, "release": "c"}', "[" * 9000])
def test_a_damaged_file_means_a_new_reference(tmp_path: Path, content: str) -> None:
    (tmp_path / monitor.FILE).write_text(content)
    watching = make(tmp_path, [])
    watching.see(frame(50))
    assert watching.state()["learned"] == 0
    watching.save()
    assert json.loads((tmp_path / monitor.FILE).read_text())["release"] == "c" * 64


def test_sketches_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "MOST_CLASSES", 3)
    watching = make(tmp_path, [])
    for number in range(10):
        watching.see(frame(50, ranking=[(f"class {number}", 0.9)]))
    (sketch,) = watching.days().values()
    assert sketch["classes"] == {"class 0": 1, "class 1": 1, "class 2": 1, "(others)": 7}
    with watching._lock:
        watching._days = {f"2020-01-{day % 28 + 1:02}-{day}": {} for day in range(60)}
    watching.see(frame(50))
    assert len(watching.days()) == DAYS


def test_reference_is_spread_over_its_hours(tmp_path: Path) -> None:
    clock = Clock()
    numbers = dataclasses.replace(NUMBERS, reference_hours=1)
    watching = DriftMonitor(DriftSettings(tmp_path, numbers), lambda _: None, lambda *_: None, clock)
    for _ in range(100):
        watching.see(frame(50))
    assert watching.state()["learned"] == 0.05
    clock.now += 3600 / 20
    for _ in range(100):
        watching.see(frame(50))
    assert watching.state()["learned"] == 0.1


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ([], "is not a table"),
        ({"signals": ["taste"]}, "signals: is not a list"),
        ({"reference_blocks": 3}, "reference_blocks: 3 is not"),
        ({"frames_per_false_alarm": 1}, "frames_per_false_alarm: 1 is not"),
        ({"fast": True}, "fast: is not known"),
    ],
)
def test_settings_refuse_what_is_not_valid(tmp_path: Path, table: object, problem: str) -> None:
    path = tmp_path / "settings.json"
    path.write_text(json.dumps({"drift": table}))
    with pytest.raises(DeviceError, match=problem):
        read_drift_settings(path, tmp_path / "current")


def test_settings_are_read_beside_those_of_captures(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text(json.dumps({"capture": {}, "drift": {"signals": ["classes"], "block_frames": 20}}))
    settings = read_drift_settings(path, tmp_path / "current")
    assert settings is not None
    assert (settings.folder, settings.signals, settings.numbers.block_frames) == (
        tmp_path / "captures",
        ("classes",),
        20,
    )
    path.write_text("{}")
    assert read_drift_settings(path, tmp_path / "current") is None


def test_recent_means_let_older_frames_fade(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "RECENT_FRAMES", 50)
    recent = RecentMeans()
    assert recent.to_json() == {"frames": 0, "means": {}, "classes": {}}
    for _ in range(99):
        recent.add({"confidence": 0.5}, "old")
    recent.add({"confidence": 0.5}, "new")
    assert recent.to_json() == {"frames": 50, "means": {"confidence": 0.5}, "classes": {"old": 0.99, "new": 0.01}}
    for _ in range(1000):
        recent.add({"confidence": 1.0}, "new")
    assert recent.to_json()["means"]["confidence"] > 0.99
    assert recent.to_json()["frames"] < 100
