from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.train.fitting.conftest import drawn
from toolkit.device import rejection
from toolkit.train.fitting import rejection_rule


def test_fit_rejection_holds_its_error_on_new_images() -> None:
    rule = rejection_rule.fit_rejection(*drawn(4000, 3.0), 0.1, 3.0)
    logits, labels = drawn(4000, 3.0, seed=1)
    answered = rejection_rule.accepted(rule, logits)
    error = float(np.mean(logits.argmax(axis=1)[answered] != labels[answered]))
    assert 0.07 < error < 0.13
    assert rule.coverage == pytest.approx(answered.mean(), abs=0.05)


@pytest.mark.parametrize(("count", "threshold", "coverage"), [(79, 1.0, 0.0), (80, 0.0, 1.0)])
def test_fit_rejection_needs_enough_images_for_its_error(count: int, threshold: float, coverage: float) -> None:
    logits, labels = np.tile([3.0, 0.0], (count, 1)), np.zeros(count, int)
    rule = rejection_rule.fit_rejection(logits, labels, 0.02, 1.0)
    assert (rule.threshold, rule.coverage) == (threshold, coverage)


@pytest.mark.parametrize(("count", "warned"), [(31, True), (32, False)])
def test_warning_for_a_rule_that_answers_nothing(count: int, warned: bool) -> None:
    logits, labels = np.tile([3.0, 0.0], (count, 1)), np.zeros(count, int)
    text = rejection_rule.warning_for(rejection_rule.fit_rejection(logits, labels, 0.05, 1.0), count)
    assert ("at least 32 validation images" in text and "there are 31" in text) if warned else text == ""
    assert rejection_rule.warning_for(None, count) == ""


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 60), st.floats(0.01, 0.5))
def test_rejection_is_never_wrong_more_often_than_asked(seed: int, count: int, error: float) -> None:
    logits, labels = drawn(count, 1.0, seed)
    rule = rejection_rule.fit_rejection(logits, labels, error, 1.0)
    answered = rejection_rule.accepted(rule, logits)
    assert answered.mean() == pytest.approx(rule.coverage)
    assert (logits.argmax(axis=1) != labels)[answered].sum() <= error * max(answered.sum(), 1)


@pytest.mark.parametrize("seed", range(3))
def test_fit_rejection_from_few_images_rarely_exceeds_its_error(seed: int) -> None:
    over = 0
    for draw in range(40):
        rule = rejection_rule.fit_rejection(*drawn(100, 3.0, seed=100 * seed + draw), 0.1, 3.0)
        logits, labels = drawn(1000, 3.0, seed=5000 + draw)
        answered = rejection_rule.accepted(rule, logits)
        over += (logits.argmax(axis=1) != labels)[answered].sum() > 0.1 * answered.sum()
    assert over <= 40 * 0.35  # the threshold is the best of many, each of which holds with 80 % confidence


def test_fit_rejection_does_not_sharpen_probabilities() -> None:
    assert rejection_rule.fit_rejection(*drawn(100, 0.5), 0.1, 0.5).temperature == 1


def test_best_score_is_the_margin_where_it_orders_best() -> None:
    """Wrong answers have a close second, right ones a crowd of small probabilities."""
    right = np.log(np.tile([0.5, 0.1, 0.1, 0.1, 0.1, 0.1], (50, 1)))
    wrong = np.log(np.tile([0.52, 0.44, 0.01, 0.01, 0.01, 0.01], (10, 1)))
    logits = np.concatenate([right, wrong]).astype(np.float32)
    labels = np.array([0] * 50 + [1] * 10)
    assert rejection_rule.best_score(logits, labels, 1.0) == "margin"


def test_best_score_is_the_probability_when_all_order_alike() -> None:
    logits = np.array([[2.0, 0.0], [0.5, 0.0], [0.0, 0.1]], np.float32)
    assert rejection_rule.best_score(logits, np.array([0, 1, 1]), 1.0) == "probability"


def test_stranger_result_counts_the_unknown_and_ranks_them() -> None:
    rule = rejection_rule.fit_rejection(*drawn(4000, 1.0), 0.1, 1.0)
    known = np.tile([9.0, 0.0, 0.0, 0.0], (30, 1))
    result = rejection_rule.stranger_result(rule, known, np.full((20, 4), 0.1))
    assert (result.images, result.unknown, result.auroc, result.auroc_of_probability) == (20, 20, 1.0, 1.0)


@pytest.mark.parametrize("score", rejection.SCORES)
def test_risk_coverage_ends_with_all_answers(score: str) -> None:
    logits, labels = drawn(500, 1.0)
    curve = rejection_rule.risk_coverage(*rejection_rule.judged(logits, labels, score, 1.0))
    assert curve[-1] == (1.0, pytest.approx(float(np.mean(logits.argmax(axis=1) != labels))))
    assert len(curve) == rejection_rule.POINTS
