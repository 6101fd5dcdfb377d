from __future__ import annotations

import numpy as np
import pytest

from toolkit.device.errors import DeviceError
from toolkit.device.rejection import SCORES, accepts, is_unknown, scores

SURE, UNSURE = [0.97, 0.02, 0.01], [0.4, 0.35, 0.25]
RULE = {"score": "probability", "temperature": 1.0, "threshold": 0.8, "error": 0.02}


@pytest.mark.parametrize("score", SCORES)
def test_scores_are_higher_for_surer_answers(score: str) -> None:
    low, high = scores(np.array([UNSURE, SURE], np.float32), score, 1.0)
    assert 0 <= low < high < 1


@pytest.mark.parametrize("score", SCORES)
def test_scores_take_one_output_for_two_classes(score: str) -> None:
    one = scores(np.array([[0.9]], np.float32), score, 2.0)
    np.testing.assert_allclose(one, scores(np.array([[0.1, 0.9]], np.float32), score, 2.0), rtol=1e-5)


@pytest.mark.parametrize("score", SCORES)
def test_scores_stay_finite_for_certain_answers(score: str) -> None:
    (value,) = scores(np.array([[1.0, 0.0, 0.0]], np.float32), score, 0.05)
    assert 0.99 < value <= 1


def test_accepts_answers_above_the_threshold() -> None:
    assert accepts(np.array([SURE, UNSURE], np.float32), RULE).tolist() == [True, False]


def test_accepts_nothing_at_a_threshold_of_one() -> None:
    assert accepts(np.array([[1.0, 0.0]], np.float32), {**RULE, "threshold": 1.0}).tolist() == [False]


def test_is_unknown_says_nothing_without_a_rule() -> None:
    assert is_unknown(np.array(UNSURE, np.float32), {}) is None
    assert is_unknown(np.array(UNSURE, np.float32), {"rejection": RULE}) is True
    assert is_unknown(np.array(SURE, np.float32), {"rejection": RULE}) is False


@pytest.mark.parametrize(
    "change", [{"score": "energy"}, {"temperature": 0}, {"temperature": "warm"}, {"threshold": None}]
)
def test_accepts_refuses_a_rule_that_is_not_valid(change: dict[str, object]) -> None:
    with pytest.raises(DeviceError, match="the rule for unknown images is not valid"):
        accepts(np.array([SURE], np.float32), {**RULE, **change})
