"""Checked against figures published with the methods, and against what must hold of any."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.stats import curves

COUNTS = st.integers(0, 60)


@pytest.mark.parametrize(
    ("correct", "total", "low", "high"),
    # Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_equals_the_published_intervals_when_counts_are_newcombes(
    correct: int, total: int, low: float, high: float
) -> None:
    assert curves.wilson(correct, total) == pytest.approx((low, high), abs=5e-5)


def test_wilson_is_whole_range_when_nothing_was_counted() -> None:
    assert curves.wilson(0, 0) == (0.0, 1.0)


@given(COUNTS, COUNTS)
def test_wilson_holds_the_share_when_counts_are_any(right: int, wrong: int) -> None:
    low, high = curves.wilson(right, right + wrong)
    assert 0 <= low <= high <= 1
    if right + wrong:
        assert low <= right / (right + wrong) <= high


@pytest.mark.parametrize(("percent", "enough"), [(90, 64), (95, 130), (99, 662)])
def test_percentile_is_none_when_queries_are_too_few(percent: int, enough: int) -> None:
    assert curves.percentile([1.0] * (enough - 1), percent) is None
    assert curves.percentile([1.0] * enough, percent) == 1.0


def test_percentile_is_the_nearest_rank_when_there_are_enough() -> None:
    assert curves.percentile(list(range(100, 0, -1)), 90) == 90
    assert curves.percentile([3.0, 1.0, 2.0], 50) == 2.0


def test_mcnemar_equals_the_binomial_when_answers_differ() -> None:
    assert curves.mcnemar(0, 0) == 1.0
    assert curves.mcnemar(1, 9) == pytest.approx(22 / 1024)
    assert curves.mcnemar(9, 1) == curves.mcnemar(1, 9)


def test_paired_difference_equals_the_published_interval_when_counts_are_newcombes() -> None:
    # Newcombe, Statistics in Medicine 17 (1998) 2635-2650, table III, method 10: 36, 12, 2, 0 of 50.
    difference, low, high = curves.paired_difference(36, 12, 2, 0)
    assert difference == pytest.approx(0.2)
    assert (low, high) == pytest.approx((0.0569, 0.3404), abs=5e-4)


@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_paired_difference_turns_its_sign_when_the_models_change_places(
    both: int, first: int, second: int, neither: int
) -> None:
    if both + first + second + neither == 0:
        return
    one = curves.paired_difference(both, first, second, neither)
    other = curves.paired_difference(both, second, first, neither)
    assert one == pytest.approx((-other[0], -other[2], -other[1]), abs=1e-9)
    assert one[1] <= one[0] + 1e-12
    assert one[0] <= one[2] + 1e-12


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


def test_average_precision_is_the_hand_computed_one_when_one_alarm_is_false() -> None:
    curve = curves.precision_recall_curve([0.9, 0.8, 0.7], [True, False, True])
    assert curve == ((0.5, 1.0), (0.5, 0.5), (1.0, pytest.approx(2 / 3)))
    assert curves.average_precision(curve) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_curves_are_empty_when_there_is_only_one_kind() -> None:
    assert curves.roc_curve([0.1, 0.2], [True, True]) == ()
    assert curves.precision_recall_curve([0.1, 0.2], [False, False]) == ()
