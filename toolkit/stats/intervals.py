"""Intervals and tests of proportions, and percentiles: pure, from raw counts and samples, each with its source.

Fractions are 0…1; intervals are 95 % unless `z` says otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from toolkit.device import percentiles

Z95 = 1.959963984540054
"""The 97.5 % point of the standard normal distribution: two-sided 95 %."""


def wilson(correct: int, total: int, z: float = Z95) -> tuple[float, float]:
    """Wilson's score interval of a proportion (JASA 22, 1927); (0, 1) of nothing."""
    if total == 0:
        return 0.0, 1.0
    share, inverse = correct / total, z * z / total
    center = (share + inverse / 2) / (1 + inverse)
    half = z / (1 + inverse) * math.sqrt(share * (1 - share) / total + inverse / (4 * total))
    return max(0.0, center - half) if correct else 0.0, min(1.0, center + half) if correct < total else 1.0


def percentile(samples: Sequence[float], percent: int) -> float | None:
    """The nearest-rank percentile in the samples' unit, or None where they are too few to print it."""
    return percentiles.nearest_rank(sorted(samples), percent)


def mcnemar(only_first: int, only_second: int) -> float:
    """McNemar's exact two-sided test on paired answers: the p-value that both models are equally often right.

    `only_first` and `only_second` count the images that just one of the two got right (Psychometrika 12, 1947; the
    exact form is a binomial test at 1/2).
    """
    discordant = only_first + only_second
    tail = sum(math.comb(discordant, k) for k in range(min(only_first, only_second) + 1))
    return min(1.0, 2 * tail / (1 << discordant))


def paired_difference(both: int, only_first: int, only_second: int, neither: int) -> tuple[float, float, float]:
    """First proportion minus second on the same images, with its 95 % interval: (difference, low, high).

    Newcombe's hybrid score interval for paired data, his method 10 (Statistics in Medicine 17, 1998).
    """
    total = both + only_first + only_second + neither
    first, second = (both + only_first) / total, (both + only_second) / total
    (low_1, high_1), (low_2, high_2) = wilson(both + only_first, total), wilson(both + only_second, total)
    phi = _correlation(both, only_first, only_second, neither)
    down, up = first - low_1, high_2 - second
    low = first - second - math.sqrt(max(0.0, down**2 - 2 * phi * down * up + up**2))
    down, up = second - low_2, high_1 - first
    high = first - second + math.sqrt(max(0.0, down**2 - 2 * phi * down * up + up**2))
    return first - second, low, high


def _correlation(both: int, only_first: int, only_second: int, neither: int) -> float:
    """Newcombe's continuity-corrected phi of the 2 x 2 table."""
    margins = (both + only_first) * (only_second + neither) * (both + only_second) * (only_first + neither)
    if margins == 0:
        return 0.0
    excess = both * neither - only_first * only_second
    total = both + only_first + only_second + neither
    corrected = max(excess - total / 2, 0) if excess > 0 else excess
    return float(corrected / math.sqrt(margins))
