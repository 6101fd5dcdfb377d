"""The distance from the training images: what it is for usual images, and for those of a camera that was moved."""

from __future__ import annotations

import json
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from toolkit.convert.training_embedding import describe_images
from toolkit.device.app.drift.embedding import KEY, MOST, SIZE, TrainingDistance, embed

Images = npt.NDArray[np.uint8]


def scenes(number: int, seed: int) -> Images:
    """Return images of a bright thing in the middle of a dark room, each a little different."""
    random = np.random.default_rng(seed)
    images = random.normal(60, 8, (number, 48, 48, 3)) + random.normal(0, 8, (number, 1, 1, 1))
    images[:, 14:34, 14:34] += random.normal(90, 12, (number, 1, 1, 1))
    return np.clip(images, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    """As a device reads it."""
    content: dict[str, Any] = json.loads(json.dumps({KEY: describe_images(scenes(300, 1))}))
    return content


def distances(manifest: dict[str, Any], images: Images) -> npt.NDArray[np.float64]:
    measure = TrainingDistance.of(manifest)
    assert measure is not None
    return np.array([measure.measure(image) for image in images])


def test_usual_images_have_distance_one(manifest: dict[str, Any]) -> None:
    other = distances(manifest, scenes(300, 2))
    assert np.sqrt(np.mean(other**2)) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("change", ["moved", "colors", "covered", "dark"])
def test_unusual_images_are_farther(manifest: dict[str, Any], change: str) -> None:
    images = scenes(30, 3)
    changed = {
        "moved": np.roll(images, 12, axis=2),
        "colors": images[..., ::-1] // np.array([1, 1, 2], np.uint8),
        "covered": np.where(np.arange(48)[:, None, None] < 16, 0, images).astype(np.uint8),
        "dark": images // 3,
    }[change]
    assert distances(manifest, changed).min() > 1.3 * distances(manifest, images).max()


def test_distance_is_bounded(manifest: dict[str, Any]) -> None:
    assert distances(manifest, np.full((1, 48, 48, 3), (255, 0, 255), np.uint8))[0] <= MOST


def test_embedding_does_not_depend_on_the_size() -> None:
    small = cv2.GaussianBlur(scenes(1, 4)[0], (0, 0), 2)
    large = cv2.resize(small, (480, 480), interpolation=cv2.INTER_LINEAR)
    assert np.abs(embed(small) - embed(large)).max() < 0.01


@pytest.mark.parametrize(
    "figures",
    [None, [], {"version": 2}, {"version": 1}, {"version": 1, "mean": [0] * SIZE, "whitening": [[1]]},
     {"version": 1, "mean": [float("nan")] * SIZE, "whitening": [[0] * SIZE] * SIZE}],
)  # fmt: skip
def test_figures_that_cannot_be_used_are_left_out(figures: object) -> None:
    assert TrainingDistance.of({KEY: figures}) is None
    assert TrainingDistance.of({}) is None
