"""Cameras against the other cameras of the same release."""

from __future__ import annotations

from dataclasses import replace

from toolkit.analysis.camera_peers import LEAST_FRAMES, CameraOutlier, find_camera_outliers
from toolkit.cli.watch import COLUMNS, described_all, row
from toolkit.fleet.watch import CameraMeans, DeviceSample

USUAL = {"brightness": 120.0, "contrast": 50.0, "sharpness": 8.0, "confidence": 0.9}


def _sample(
    name: str, release: str = "r", frames: int = 5000, classes: dict[str, float] | None = None, **means: float
) -> DeviceSample:
    camera = CameraMeans(frames=frames, means={**USUAL, **means}, classes=classes or {"mask": 0.6, "none": 0.4})
    return DeviceSample(device=name, release=release, camera=camera)


def _fleet(*changed: DeviceSample) -> list[DeviceSample]:
    return [*(_sample(f"pi-{n}", brightness=118.0 + n, sharpness=7.9 + n / 20) for n in range(4)), *changed]


def _signals(samples: list[DeviceSample]) -> list[tuple[str, str]]:
    return [(one.device, one.signal) for one in find_camera_outliers(samples)]


def test_cameras_that_are_alike_are_not_apart() -> None:
    assert _signals(_fleet(_sample("pi-9", brightness=135.0, confidence=0.87))) == []


def test_blurred_dark_unsure_or_surprised_camera_is_apart() -> None:
    assert _signals(_fleet(_sample("pi-9", sharpness=2.0))) == [("pi-9", "sharpness")]
    assert _signals(_fleet(_sample("pi-9", brightness=40.0))) == [("pi-9", "brightness")]
    assert _signals(_fleet(_sample("pi-9", confidence=0.6))) == [("pi-9", "confidence")]
    assert _signals(_fleet(_sample("pi-9", classes={"unknown": 0.8, "mask": 0.2}))) == [("pi-9", "classes")]


def test_change_of_all_cameras_sets_none_apart() -> None:
    assert _signals([_sample(f"pi-{n}", brightness=30.0 + n) for n in range(5)]) == []


def test_camera_is_compared_with_the_same_release_only() -> None:
    assert _signals(_fleet(_sample("pi-9", release="other", sharpness=1.0))) == []


def test_too_few_cameras_or_frames_are_not_compared() -> None:
    assert _signals(_fleet(_sample("pi-9", frames=LEAST_FRAMES - 1, sharpness=1.0))) == []
    assert _signals([_sample("pi-1"), _sample("pi-2", sharpness=1.0)]) == []
    assert _signals(_fleet(replace(_sample("pi-9", sharpness=1.0), problem="gone"))) == []


def test_watch_shows_what_is_apart() -> None:
    samples = _fleet(_sample("pi-9", sharpness=2.0))
    (outlier,) = find_camera_outliers(samples)
    assert isinstance(outlier, CameraOutlier)
    cells = dict(zip(COLUMNS, row(samples[-1], [outlier]), strict=True))
    assert cells["unlike its peers"] == ("sharpness 2, the others 7.97", "yellow")
    devices = {one["device"]: one["unlike_peers"] for one in described_all(samples)}
    assert devices["pi-0"] == []
    assert devices["pi-9"][0]["signal"] == "sharpness"
