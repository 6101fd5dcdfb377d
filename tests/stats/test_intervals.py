"""Checked against figures published with the methods, and against what must hold of any."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.stats import intervals

COUNTS = st.integers(0, 60)


@pytest.mark.parametrize(
    ("correct", "total", "low", "high"),
    # Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_equals_published_when_counts_are_newcombes(correct: int, total: int, low: float, high: float) -> None:
    assert intervals.wilson(correct, total) == pytest.approx((low, high), abs=5e-5)


def test_wilson_is_whole_range_when_nothing_was_counted() -> None:
    assert intervals.wilson(0, 0) == (0.0, 1.0)


@given(COUNTS, COUNTS)
def test_wilson_holds_the_share_when_counts_are_any(right: int, wrong: int) -> None:
    low, high = intervals.wilson(right, right + wrong)
    assert 0 <= low <= high <= 1
    if right + wrong:
        assert low <= right / (right + wrong) <= high


@pytest.mark.parametrize(("percent", "enough"), [(90, 64), (95, 130), (99, 662)])
def test_percentile_is_none_when_queries_are_too_few(percent: int, enough: int) -> None:
    assert intervals.percentile([1.0] * (enough - 1), percent) is None
    assert intervals.percentile([1.0] * enough, percent) == 1.0


def test_percentile_is_the_nearest_rank_when_there_are_enough() -> None:
    assert intervals.percentile(list(range(100, 0, -1)), 90) == 90
    assert intervals.percentile([3.0, 1.0, 2.0], 50) == 2.0


def test_mcnemar_equals_the_binomial_when_answers_differ() -> None:
    assert intervals.mcnemar(0, 0) == 1.0
    assert intervals.mcnemar(1, 9) == pytest.approx(22 / 1024)
    assert intervals.mcnemar(9, 1) == intervals.mcnemar(1, 9)


def test_paired_difference_equals_published_when_newcombes() -> None:
    # Newcombe, Statistics in Medicine 17 (1998) 2635-2650, table III, method 10: 36, 12, 2, 0 of 50.
    difference, low, high = intervals.paired_difference(36, 12, 2, 0)
    assert difference == pytest.approx(0.2)
    assert (low, high) == pytest.approx((0.0569, 0.3404), abs=5e-4)


@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_paired_difference_changes_sign_when_models_are_swapped(
    both: int, first: int, second: int, neither: int
) -> None:
    if both + first + second + neither == 0:
        return
    one = intervals.paired_difference(both, first, second, neither)
    other = intervals.paired_difference(both, second, first, neither)
    assert one == pytest.approx((-other[0], -other[2], -other[1]), abs=1e-9)
    assert one[1] <= one[0] + 1e-12
    assert one[0] <= one[2] + 1e-12
