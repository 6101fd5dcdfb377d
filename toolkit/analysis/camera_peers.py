"""Cameras that differ from the other cameras of the fleet with the same release, as the bench compares devices with peers.

A camera's own past says whether it changed (toolkit.device.app.drift); its peers say whether it differs: a lens that was dirty
from the first day, or a class that the model sees on one device alone. Where all cameras change together, as at dusk, none of
them differs. Means of each signal are compared by the modified z-score, with the bench's limit; the answers by the share of
frames that would have to change class to be like the median of the others.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from toolkit.analysis.outliers import FAR, FEWEST
from toolkit.fleet.watch import CameraMeans, DeviceSample
from toolkit.stats.rank_tests import modified_z_score

LEAST_FRAMES = 1000
"""With fewer frames, a camera is not compared."""
LEAST_SPREAD: Mapping[str, float] = {
    "brightness": 10.0,
    "contrast": 6.0,
    "sharpness": 0.6,
    "distance": 0.3,
    "confidence": 0.03,
}
"""Lower bound of the spread: levels of 255; of a usual training image's distance; of probability. Cameras see different scenes, and few can agree by chance."""
CLASSES, CLASSES_SPREAD = "classes", 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraOutlier:
    """A signal of a camera that is an outlier among its peers."""

    device: str
    signal: str
    value: float
    usual: float
    """The median of the others; of "classes", both are distances from the others' shares."""
    score: float
    """Modified z-score, in spreads of the others."""
    peers: int

    @property
    def text(self) -> str:
        """Return the signal and both values."""
        return f"{self.signal} {self.value:.3g}, the others {self.usual:.3g}"


def find_camera_outliers(samples: Sequence[DeviceSample]) -> tuple[CameraOutlier, ...]:
    """Return the outliers among the cameras that serve the same release; groups of fewer than FEWEST have none."""
    groups: dict[str, list[DeviceSample]] = defaultdict(list)
    for sample in samples:
        if sample.release and sample.camera and sample.camera.frames >= LEAST_FRAMES and sample.problem is None:
            groups[sample.release].append(sample)
    outliers = (one for group in groups.values() if len(group) >= FEWEST for one in _outliers(group))
    return tuple(sorted(outliers, key=lambda one: (one.device, one.signal)))


def outliers_by_device(samples: Sequence[DeviceSample]) -> dict[str, list[CameraOutlier]]:
    """Return the outliers of each device that has any."""
    outliers: dict[str, list[CameraOutlier]] = {}
    for one in find_camera_outliers(samples):
        outliers.setdefault(one.device, []).append(one)
    return outliers


def _outliers(group: Sequence[DeviceSample]) -> Iterator[CameraOutlier]:
    cameras = {sample.device: sample.camera for sample in group if sample.camera}
    for signal, spread in LEAST_SPREAD.items():
        values = {device: one.means[signal] for device, one in cameras.items() if signal in one.means}
        yield from _far(signal, values, spread)
    yield from _far(CLASSES, _class_distances(cameras), CLASSES_SPREAD)


def _far(signal: str, values: Mapping[str, float], spread: float) -> Iterator[CameraOutlier]:
    for device, value in values.items():
        others = [other for name, other in values.items() if name != device]
        if len(others) < FEWEST - 1:
            continue
        score = modified_z_score(value, others, spread)
        is_far = score >= FAR if signal == CLASSES else abs(score) >= FAR
        if is_far and math.isfinite(value):
            usual = statistics.median(others)
            yield CameraOutlier(device=device, signal=signal, value=value, usual=usual, score=score, peers=len(others))


def _class_distances(cameras: Mapping[str, CameraMeans]) -> dict[str, float]:
    """Return for each camera how far its shares lie from the others' medians, 0…1 (total variation distance)."""
    labels = {label for camera in cameras.values() for label in camera.classes}

    def distance(device: str) -> float:
        others = [camera for name, camera in cameras.items() if name != device]
        usual = {label: statistics.median(camera.classes.get(label, 0.0) for camera in others) for label in labels}
        own = cameras[device].classes
        return sum(abs(own.get(label, 0.0) - usual[label]) for label in labels) / 2

    return {device: distance(device) for device in cameras}
