"""Whether events became more frequent: against figures worked out by hand, and where there is nothing to compare."""

from __future__ import annotations

import pytest

from toolkit.stats.rates import more_frequent


def test_more_frequent_is_the_binomial_tail() -> None:
    assert more_frequent(2, 10, 0, 10) == pytest.approx(1 / 4)
    assert more_frequent(3, 10, 1, 10) == pytest.approx(5 / 16)
    assert more_frequent(1, 1, 0, 3) == pytest.approx(1 / 4)


def test_more_frequent_judges_rates_not_counts() -> None:
    assert more_frequent(20, 60, 20, 3600) < 1e-6
    assert more_frequent(20, 3600, 20, 3600) > 0.4
    assert more_frequent(3, 60, 180, 3600) > 0.4


@pytest.mark.parametrize("figures", [(0, 60, 5, 60), (5, 60, 5, 0), (5, 0, 5, 60)])
def test_nothing_to_compare_is_no_evidence(figures: tuple[int, float, int, float]) -> None:
    assert more_frequent(*figures) == 1.0
