from __future__ import annotations

import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as some

from toolkit.bench.summary import percentile_interval, percentiles, throughput_interval

LATENCIES = some.lists(some.floats(0.001, 1e5), min_size=1, max_size=800)


@pytest.mark.parametrize(
    ("queries", "printed"),
    [(63, [50]), (64, [50, 90]), (129, [50, 90]), (130, [50, 90, 95]), (661, [50, 90, 95]), (662, [50, 90, 95, 99])],
)
def test_percentiles_are_those_that_rule_3_allows(queries: int, printed: list[int]) -> None:
    assert [percent for percent, _ in percentiles([1.0] * queries)] == printed


@given(LATENCIES)
def test_percentiles_ascend_and_are_samples(samples: list[float]) -> None:
    values = [value for _, value in percentiles(samples)]
    assert values == sorted(values)
    assert set(values) <= set(samples)


@given(some.lists(some.floats(0.001, 1e5), min_size=64, max_size=800))
def test_percentile_interval_holds_the_percentile(samples: list[float]) -> None:
    low, high = percentile_interval(samples, 90) or (1, 0)
    assert low <= dict(percentiles(samples))[90] <= high


def test_percentile_interval_is_none_when_there_are_too_few() -> None:
    assert percentile_interval([1.0] * 63, 90) is None


def test_percentile_interval_covers_truth_in_95_percent() -> None:
    chooser = random.Random(1)
    covered = 0
    for _ in range(400):
        low, high = percentile_interval([chooser.random() for _ in range(300)], 90) or (1, 0)
        covered += low <= 0.9 <= high
    assert 0.92 <= covered / 400 <= 0.99


@given(some.lists(some.floats(0.1, 10), min_size=10, max_size=500))
def test_throughput_interval_holds_the_mean_rate(gaps_ms: list[float]) -> None:
    times, now = [], 0.0
    for gap in gaps_ms:
        now += gap
        times.append(now)
    total = len(times) // 10 * 10
    low, high = throughput_interval(times) or (1, 0)
    assert low <= 1000 * total / times[total - 1] * (1 + 1e-9)
    assert 1000 * total / times[total - 1] <= high * (1 + 1e-9)


def test_throughput_interval_is_narrow_when_the_rate_is_steady() -> None:
    low, high = throughput_interval([2.0 * (n + 1) for n in range(1000)]) or (1, 0)
    assert statistics.fmean((low, high)) == pytest.approx(500)
    assert high - low < 1e-6


def test_throughput_interval_is_none_when_there_are_too_few() -> None:
    assert throughput_interval([1.0] * 9) is None
