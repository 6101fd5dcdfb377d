"""Checked against hand-computed figures and definitions."""

from __future__ import annotations

import pytest

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
    assert curve[0] == (0, 0)
    assert curve[-1] == (1, 1)
    assert len(curve) == 6
    assert curves.area_under(curve) == pytest.approx(sum(pairs) / len(pairs))


def test_average_precision_is_exact_when_one_alarm_is_false() -> None:
    curve = curves.precision_recall_curve([0.9, 0.8, 0.7], [True, False, True])
    assert curve == ((0.5, 1.0), (0.5, 0.5), (1.0, pytest.approx(2 / 3)))
    assert curves.average_precision(curve) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_curves_are_empty_when_there_is_only_one_kind() -> None:
    assert curves.roc_curve([0.1, 0.2], [True, True]) == ()
    assert curves.precision_recall_curve([0.1, 0.2], [False, False]) == ()
