"""Rank-based tests, pure: whether one set of samples is larger than another, and which of many values are outliers.

Latencies are skewed and have far outliers, so nothing here supposes a distribution, and no single sample can carry a
verdict.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import TypeVar

K = TypeVar("K")

MIN_SAMPLES = 8
"""On each side. Below, the normal approximation of U is too coarse (Lehmann, Nonparametrics, 1975, 1.3)."""
_CONSISTENT = 1.482602218505602
"""1 / Phi^-1(3/4): makes the median absolute deviation of a normal sample estimate its standard deviation."""


def mann_whitney(first: Sequence[float], second: Sequence[float]) -> tuple[float, float]:
    """The Mann-Whitney U of `first` over `second`, and the two-sided p-value that neither tends to be larger.

    U counts the pairs in which the first is larger, ties as one half (Mann and Whitney, Annals of Mathematical
    Statistics 18, 1947). The p-value is by the normal approximation with the variance corrected for ties (Lehmann,
    Nonparametrics, 1975, 1.4) and with a correction for continuity.
    """
    ranks = midranks([*first, *second])
    n, m = len(first), len(second)
    u = math.fsum(ranks[:n]) - n * (n + 1) / 2
    variance = _variance(n, m, Counter(ranks).values())
    if variance <= 0:
        return u, 1.0
    z = max(0.0, abs(u - n * m / 2) - 0.5) / math.sqrt(variance)
    return u, math.erfc(z / math.sqrt(2))


def midranks(values: Sequence[float]) -> list[float]:
    """The rank of each value from 1 on; equal values share the mean of theirs."""
    counts = Counter(values)
    ordered = sorted(counts)
    ends = accumulate(counts[value] for value in ordered)
    rank = {value: end - (counts[value] - 1) / 2 for value, end in zip(ordered, ends, strict=True)}
    return [rank[value] for value in values]


def _variance(n: int, m: int, ties: Iterable[int]) -> float:
    """Of U where neither side tends to be larger; `ties` are the sizes of the groups of equal values."""
    total = n + m
    tied = sum(size**3 - size for size in ties)
    return n * m / 12 * (total + 1 - tied / (total * (total - 1)))


def holm(p_values: Mapping[K, float]) -> dict[K, float]:
    """The p-values adjusted so that the chance of one false alarm among all of them stays what it was for one.

    Holm's step-down form of Bonferroni's correction (Scandinavian Journal of Statistics 6, 1979).
    """
    adjusted: dict[K, float] = {}
    last = 0.0
    for done, (key, p_value) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        last = max(last, min(1.0, (len(p_values) - done) * p_value))
        adjusted[key] = last
    return adjusted


def scaled_mad(values: Sequence[float]) -> float:
    """The median absolute deviation, scaled to estimate a standard deviation; half of the values may be anything."""
    middle = statistics.median(values)
    return _CONSISTENT * statistics.median(abs(value - middle) for value in values)


def modified_z_score(value: float, others: Sequence[float], least: float = 0.0) -> float:
    """By how many spreads a value lies above the median of the others: the modified z-score.

    Iglewicz and Hoaglin (How to Detect and Handle Outliers, 1993) call 3.5 and beyond an outlier. A spread below
    `least` counts as that; of none at all, any difference is infinitely far.
    """
    gap = value - statistics.median(others)
    width = max(scaled_mad(others), least)
    return gap / width if width else math.copysign(math.inf, gap) if gap else 0.0
