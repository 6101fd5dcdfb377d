"""Drift is raised soon, and hardly ever without reason."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from toolkit.convert.training_embedding import describe_images
from toolkit.device.app.drift.detector import CLEARED, RAISED, DriftDetector, student_quantile
from toolkit.device.app.drift.drift_settings import DriftNumbers, DriftSettings
from toolkit.device.app.drift.embedding import TrainingDistance
from toolkit.device.app.drift.image_signals import image_signals

Frames = Iterator[tuple[dict[str, float], str]]
REFERENCE = 100
STRICT = DriftNumbers(reference_blocks=REFERENCE, reference_hours=0, frames_per_false_alarm=10_000)


def detector(numbers: DriftNumbers = STRICT, signals: tuple[str, ...] = DriftSettings.signals) -> DriftDetector:
    return DriftDetector(DriftSettings(Path("/nowhere"), numbers, signals))


@pytest.mark.parametrize(
    ("probability", "degrees", "quantile"),
    [(0.975, 19, 2.0930), (0.9995, 39, 3.5581), (0.995, 99, 2.6264), (1 - 1e-7, 1000, 5.2347)],
)
def test_quantiles_are_those_of_the_tables(probability: float, degrees: int, quantile: float) -> None:
    assert student_quantile(probability, degrees) == pytest.approx(quantile, rel=2e-3)


class Camera:
    """A camera before which a scene moves: images, and answers whose confidence follows the scene."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        small = self.random.integers(0, 256, (60, 60, 3), np.uint8)
        self.scene = cv2.resize(small, (480, 480), interpolation=cv2.INTER_CUBIC)
        self.place = np.array([200.0, 200.0])
        self.blur, self.light, self.new_class, self.covered = 0.0, 1.0, False, False
        self.distance = TrainingDistance(describe_images(np.stack([self.image() for _ in range(300)])))

    def image(self) -> npt.NDArray[np.uint8]:
        self.place = np.clip(self.place + self.random.normal(0, 4, 2), 0, 400)
        top, left = self.place.astype(int)
        clean = self.scene[top : top + 64, left : left + 64].astype(np.float32) * self.light
        image = np.clip(clean + self.random.normal(0, 3, clean.shape), 0, 255).astype(np.uint8)
        if self.covered:
            image[:20] = 0
        return cv2.GaussianBlur(image, (0, 0), self.blur).astype(np.uint8) if self.blur else image

    def frame(self) -> tuple[dict[str, float], str]:
        image = self.image()
        sure = self.random.beta(4, 2) if self.new_class else self.random.beta(12, 1.5)
        values = {**image_signals(image), "distance": self.distance.measure(image), "confidence": float(sure)}
        return values, "a" if self.place[1] < 200 else "b"


@cache
def learned(seed: int) -> tuple[Camera, DriftDetector]:
    """Return a camera and a detector with its reference; 70 frames later, as a change need not fall on a block's beginning."""
    camera, watching = Camera(seed), detector()
    while watching.learned < 1:
        watching.add(*camera.frame())
    for _ in range(70):
        assert not watching.add(*camera.frame())
    return camera, watching


def raised_after(change: str, value: float, seed: int) -> dict[str, int]:
    """Return the frames from a change to the alarm of each signal, at most 200."""
    camera, watching = deepcopy(learned(seed))
    setattr(camera, change, value)
    events = {}
    for number in range(1, 201):
        for signal, event in watching.add(*camera.frame()):
            if event == RAISED:
                events.setdefault(signal, number)
    return events


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(
    ("change", "value", "signal"),
    [
        ("blur", 2.5, "sharpness"),
        ("light", 0.6, "brightness"),
        ("new_class", 1.0, "confidence"),
        ("covered", 1.0, "distance"),
    ],
)
def test_changes_are_raised_within_200_frames(change: str, value: float, signal: str, seed: int) -> None:
    assert raised_after(change, value, seed).get(signal, 999) <= 200


def steady(seed: int, kind: str) -> Frames:
    """Yield frames whose distribution does not change: connected, skewed, or interrupted by passers-by."""
    random = np.random.default_rng(seed)
    state, passing = random.normal(0, 1, 3), 0
    while True:
        noise = random.normal(0, 1, (5000, 3))
        uniform = random.random((5000, 2))
        skewed = random.beta(8, 1, 5000)
        for number in range(5000):
            state = 0.95 * state + 0.3122 * noise[number] if kind != "independent" else noise[number]
            passing = passing - 1 if passing else 60 if kind == "passing" and uniform[number, 0] < 0.002 else 0
            values = {
                "brightness": 120 + 12 * float(state[0]) - (40 if passing else 0),
                "contrast": 50 + 8 * float(state[1]),
                "sharpness": 9 + float(np.exp(0.5 * state[2])),
                "distance": float(np.sqrt(np.mean(np.square(state)))),
                "confidence": 0.55 if passing else float(skewed[number]),
            }
            yield values, "person" if passing else "ab"[int(uniform[number, 1] < 0.3)]


@pytest.mark.parametrize("kind", ["independent", "connected", "passing"])
def test_false_alarms_stay_below_the_stated_rate(kind: str) -> None:
    """At most one in 10,000 frames without a change."""
    frames, alarms = 20_000, 0
    for seed in (1, 2):
        watching, camera = detector(), steady(seed, kind)
        while watching.learned < 1:
            watching.add(*next(camera))
        for _ in range(frames):
            alarms += sum(event == RAISED for _, event in watching.add(*next(camera)))
    assert alarms <= 2 * frames / 10_000


def test_a_passer_by_is_no_drift() -> None:
    watching = detector(signals=("confidence",))
    for number in range(REFERENCE * 50):
        watching.add({"confidence": 0.9 + 0.01 * (number % 7)}, "a")
    passing = [watching.add({"confidence": 0.3}, "a") for _ in range(50)]
    after = [watching.add({"confidence": 0.92}, "a") for _ in range(200)]
    assert not [event for events in (*passing, *after) for event in events]


def test_drift_is_cleared_when_the_camera_is_as_before() -> None:
    watching = detector(signals=("confidence",))
    for number in range(REFERENCE * 50):
        watching.add({"confidence": 0.9 + 0.01 * (number % 7)}, "a")
    events = [event for _ in range(200) for event in watching.add({"confidence": 0.3}, "a")]
    assert (events, watching.raised) == ([("confidence", RAISED)], ["confidence"])
    events = [event for _ in range(200) for event in watching.add({"confidence": 0.92}, "a")]
    assert (events, watching.raised) == ([("confidence", CLEARED)], [])


def test_other_classes_are_drift() -> None:
    watching = detector(signals=("classes",))
    for number in range(REFERENCE * 50):
        watching.add({}, "ab"[number % 2])
    events = [event for _ in range(150) for event in watching.add({}, "unknown")]
    assert events == [("classes", RAISED)]


def test_a_still_image_is_no_drift_whatever_its_noise() -> None:
    """A reference without any spread would make every change an infinite deviation."""
    watching = detector(signals=("brightness", "classes"))
    for _ in range(REFERENCE * 50):
        watching.add({"brightness": 100.0}, "a")
    assert not [event for _ in range(500) for event in watching.add({"brightness": 102.0}, "a")]


def test_reference_survives_a_restart() -> None:
    first = detector()
    camera = Camera(1)
    while first.learned < 1:
        first.add(*camera.frame())
    second = detector()
    second.load(json.loads(json.dumps(first.to_json())))
    frames = [camera.frame() for _ in range(60)]
    for each in (first, second):
        for frame in frames[:50]:
            each.add(*frame)
    assert second.deviations == pytest.approx(first.deviations)


def test_without_training_images_the_others_are_watched() -> None:
    watching = DriftDetector(DriftSettings(Path("/nowhere"), STRICT), distance=False)
    assert watching.limit < detector().limit, "fewer signals share the rate of false alarms"
    for number in range(REFERENCE * 50):
        watching.add({"brightness": 90.0 + number % 7, "contrast": 50.0, "sharpness": 9.0, "confidence": 0.9}, "a")
    assert watching.learned == 1
