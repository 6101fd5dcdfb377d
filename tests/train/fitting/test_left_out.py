from __future__ import annotations

import numpy as np
import pytest

from toolkit.train.fitting.left_out import MOST, leave_one_out
from toolkit.train.fitting.loop import Examples


def _clusters(classes: int, each: int, *, spread: float = 0.1) -> dict[str, Examples]:
    """Images around one corner of a cube per class."""
    labels = np.repeat(np.arange(classes), each)
    made = {}
    for number, part in enumerate(("train", "validation", "test")):
        noise = np.random.default_rng(number).normal(0, spread, (len(labels), classes))
        made[part] = Examples((np.eye(classes)[labels] + noise).astype(np.float32), labels)
    return made


def test_leave_one_out_tells_a_class_of_its_own_from_the_others() -> None:
    result = leave_one_out(_clusters(4, 20), error=0.1)
    assert result is not None
    assert (result.images, result.classes_left_out) == (80, 4)
    assert result.auroc > 0.95
    assert result.auroc_of_probability > 0.95


def test_leave_one_out_cannot_tell_strangers_that_look_alike() -> None:
    features = _clusters(4, 40)
    rng = np.random.default_rng(9)
    noise = {part: Examples(rng.normal(size=(160, 4)).astype(np.float32), one.labels) for part, one in features.items()}
    result = leave_one_out(noise, error=0.5)
    assert result is not None
    assert result.auroc == pytest.approx(0.5, abs=0.1)


def test_leave_one_out_leaves_at_most_so_many_classes_out() -> None:
    result = leave_one_out(_clusters(MOST + 5, 3), error=0.2)
    assert result is not None
    assert (result.classes_left_out, result.images) == (MOST, 3 * MOST)


def test_leave_one_out_has_no_result_with_two_classes() -> None:
    assert leave_one_out(_clusters(2, 10), error=0.1) is None
