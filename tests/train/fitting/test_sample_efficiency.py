from __future__ import annotations

import numpy as np
import pytest

from toolkit.train.fitting.loop import Examples
from toolkit.train.fitting.sample_efficiency import sample_efficiency


def examples(each: int, seed: int, distance: float = 0.25) -> Examples:
    """Two clouds of 32 dimensions."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(2), each)
    centers = np.array([[-distance] * 32, [distance] * 32])
    return Examples((centers[labels] + rng.normal(size=(2 * each, 32))).astype(np.float32), labels)


def test_sample_efficiency_rises_to_all_images_and_flattens() -> None:
    few, many = (sample_efficiency(examples(each, 0), examples(200, 1)) for each in (15, 300))
    assert few is not None
    assert many is not None
    assert [point.per_class for point in few.points] == [2, 5, 10, 15]
    assert many.points[-1].per_class == 300
    assert many.points[-1].accuracy > many.points[0].accuracy
    assert few.gain > many.gain >= 0
    for point in (*few.points, *many.points):
        assert point.interval[0] <= point.accuracy <= point.interval[1]


def test_sample_efficiency_works_from_ten_images_of_each_class() -> None:
    curve = sample_efficiency(examples(10, 0), examples(20, 1))
    assert curve is not None
    assert [point.per_class for point in curve.points] == [2, 5, 10]


@pytest.mark.parametrize("each", [1, 5])
def test_sample_efficiency_needs_three_points(each: int) -> None:
    assert sample_efficiency(examples(each, 0), examples(20, 1)) is None


def test_sample_efficiency_gains_nothing_where_all_are_right() -> None:
    curve = sample_efficiency(examples(40, 0, distance=5.0), examples(40, 1, distance=5.0))
    assert curve is not None
    assert curve.gain == pytest.approx(0, abs=1e-6)
