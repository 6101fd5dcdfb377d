"""Checked against hand-computed figures and definitions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from toolkit.stats import curves


def test_roc_curve_has_the_area_of_the_rank_sum_when_shares_tie() -> None:
    shares, positive = [0.9, 0.8, 0.8, 0.6, 0.3, 0.1], [True, True, False, True, False, False]
    curve = curves.roc_curve(shares, positive)
    pairs = [
        (a > b) + (a == b) / 2
        for a, yes in zip(shares, positive, strict=True)
        if yes
        for b, other in zip(shares, positive, strict=True)
        if not other
    ]
    assert curve[0].tolist() == [0, 0]
    assert curve[-1].tolist() == [1, 1]
    assert len(curve) == 6
    assert curves.area_under(curve) == pytest.approx(sum(pairs) / len(pairs))


def test_average_precision_is_exact_when_one_alarm_is_false() -> None:
    curve = curves.precision_recall_curve([0.9, 0.8, 0.7], [True, False, True])
    assert curve.tolist() == [[0.5, 1.0], [0.5, 0.5], [1.0, pytest.approx(2 / 3)]]
    assert curves.average_precision(curve) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_curves_are_empty_when_there_is_only_one_kind() -> None:
    assert len(curves.roc_curve([0.1, 0.2], [True, True])) == 0
    assert len(curves.precision_recall_curve([0.1, 0.2], [False, False])) == 0
    assert len(curves.roc_curve([], [])) == len(curves.precision_recall_curve([], [])) == 0


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0]), st.booleans()), max_size=30))
def test_areas_are_those_of_scikit_learn(pairs: list[tuple[float, bool]]) -> None:
    shares, positive = [share for share, _ in pairs], [truth for _, truth in pairs]
    roc, trade = curves.roc_curve(shares, positive), curves.precision_recall_curve(shares, positive)
    if len(set(positive)) == 2:
        assert curves.area_under(roc) == pytest.approx(metrics.roc_auc_score(positive, shares))
    if any(positive):
        assert curves.average_precision(trade) == pytest.approx(metrics.average_precision_score(positive, shares))
