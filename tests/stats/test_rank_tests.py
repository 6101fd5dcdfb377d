from __future__ import annotations

import math
import random
import statistics
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from toolkit.stats.rank_tests import holm, mann_whitney, midranks, modified_z_score, scaled_mad

VALUES = some.lists(some.integers(0, 9).map(float), min_size=1, max_size=30)
LATENCIES = some.lists(some.floats(0.01, 1e4), min_size=1, max_size=25)
SHARES = some.dictionaries(some.integers(), some.floats(0, 1), min_size=1)


def pairs(first: list[float], second: list[float]) -> float:
    """U by its definition."""
    return sum((one > other) + (one == other) / 2 for one in first for other in second)


def test_mann_whitney_is_the_published_example() -> None:
    # Ages at diagnosis by sex: the worked example in the documentation of SciPy's mannwhitneyu, method "asymptotic".
    u, p_value = mann_whitney([19, 22, 16, 29, 24], [20, 11, 17, 12])
    assert (u, p_value) == (17, pytest.approx(0.11134688653314041, abs=1e-15))


@given(VALUES, VALUES)
def test_mann_whitney_counts_pairs_and_knows_no_sides(first: list[float], second: list[float]) -> None:
    (u, p_value), (other, same) = mann_whitney(first, second), mann_whitney(second, first)
    assert u == pytest.approx(pairs(first, second))
    assert u + other == pytest.approx(len(first) * len(second))
    assert p_value == pytest.approx(same)
    assert 0 <= p_value <= 1


@given(VALUES, VALUES)
def test_mann_whitney_asks_for_the_order_alone(first: list[float], second: list[float]) -> None:
    transformed = mann_whitney([math.exp(value) for value in first], [math.exp(value) for value in second])
    assert transformed == pytest.approx(mann_whitney(first, second))


@pytest.mark.parametrize("values", [[1, 2, 3, 4, 5, 6, 7], [1, 1, 2, 2, 2, 3, 9], [0, 0, 0, 0, 1, 1, 1]])
def test_mann_whitney_has_the_variance_of_all_arrangements(values: list[float]) -> None:
    chosen = [set(places) for places in combinations(range(7), 3)]
    result = [pairs([values[n] for n in places], [values[n] for n in range(7) if n not in places]) for places in chosen]
    assert statistics.fmean(result) == pytest.approx(6)
    u, p_value = mann_whitney(values[4:], values[:4])
    z = max(0.0, abs(u - 6) - 0.5) / statistics.pstdev(result)
    assert p_value == pytest.approx(math.erfc(z / math.sqrt(2)))


def test_mann_whitney_errs_5_percent_when_nothing_differs() -> None:
    chooser = random.Random(4)
    draws = ([chooser.lognormvariate(0, 0.3) for _ in range(30)] for _ in range(1200))
    alarms = sum(mann_whitney(one, other)[1] < 0.05 for one, other in zip(draws, draws, strict=True))
    assert 0.025 < alarms / 600 < 0.075


def test_mann_whitney_is_certain_of_nothing_when_all_are_equal() -> None:
    assert mann_whitney([3, 3, 3], [3, 3]) == (3, 1)


@given(VALUES)
def test_midranks_add_up(values: list[float]) -> None:
    assert sum(midranks(values)) == pytest.approx(len(values) * (len(values) + 1) / 2)


def test_holm_is_the_published_procedure() -> None:
    # By hand: 4 x 0.005, 3 x 0.01, then 2 x 0.03 carries over 1 x 0.04.
    adjusted = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert adjusted == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02})


@given(SHARES)
def test_holm_keeps_order_and_stays_within_bonferroni(result: dict[int, float]) -> None:
    adjusted = holm(result)
    assert all(result[key] <= adjusted[key] <= min(1.0, len(result) * result[key]) for key in result)
    ordered = sorted(result, key=lambda key: result[key])
    assert [adjusted[key] for key in ordered] == sorted(adjusted.values())


def test_scaled_mad_is_standard_deviation_when_outliers_exist() -> None:
    chooser = random.Random(2)
    values = [chooser.gauss(100, 5) for _ in range(2000)]
    assert scaled_mad(values) == pytest.approx(5, rel=0.06)
    assert scaled_mad([*values, *[1e9] * 200]) == pytest.approx(5, rel=0.2)


def test_distance_is_the_modified_z_score() -> None:
    # By hand: the median is 2.45, the median distance from it 0.15.
    values = [2.1, 2.6, 2.4, 2.5, 2.3, 2.1, 2.3, 2.6, 8.2, 8.3]
    far = [modified_z_score(value, values) for value in values]
    assert far[-1] == pytest.approx(0.6745 * (8.3 - 2.45) / 0.15, rel=1e-3)
    assert [abs(each) > 3.5 for each in far] == [False] * 8 + [True, True]


def test_distance_is_bounded_when_the_others_agree_to_the_digit() -> None:
    assert modified_z_score(11, [10, 10, 10], least=0.1) == pytest.approx(10)
    assert (modified_z_score(11, [10, 10]), modified_z_score(10, [10, 10]), modified_z_score(9, [10, 10])) == (
        math.inf,
        0,
        -math.inf,
    )
