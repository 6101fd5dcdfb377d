"""The few statistics that training, benches and reports share: pure, from raw samples, each with its source.

Fractions are 0…1; intervals are 95 % unless `z` says otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

Z95 = 1.959963984540054
"""The standard normal's 97.5 % point: two-sided 95 %."""

ENOUGH_QUERIES = {50: 1, 90: 64, 95: 130, 99: 662}
"""From how many queries a percentile may be printed at 99 % confidence (bench rule 3, after MLPerf Inference)."""


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
    if len(samples) < ENOUGH_QUERIES[percent]:
        return None
    return sorted(samples)[math.ceil(len(samples) * percent / 100) - 1]


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


def roc_curve(shares: Sequence[float], positive: Sequence[bool]) -> tuple[tuple[float, float], ...]:
    """(false positive rate, true positive rate) at every threshold, from (0, 0) to (1, 1); empty without both kinds.

    Equal shares are one threshold (Fawcett, Pattern Recognition Letters 27, 2006).
    """
    positives = sum(positive)
    negatives = len(positive) - positives
    if not positives or not negatives:
        return ()
    counts = _counts(shares, positive)
    return ((0.0, 0.0), *((wrong / negatives, right / positives) for right, wrong in counts))


def precision_recall_curve(shares: Sequence[float], positive: Sequence[bool]) -> tuple[tuple[float, float], ...]:
    """(recall, precision) at every threshold, the highest first; empty without positives."""
    positives = sum(positive)
    if not positives:
        return ()
    return tuple((right / positives, right / (right + wrong)) for right, wrong in _counts(shares, positive))


def area_under(curve: Sequence[tuple[float, float]]) -> float:
    """The area under a curve of straight lines: of a ROC curve, its AUC."""
    return sum((x2 - x1) * (y1 + y2) / 2 for (x1, y1), (x2, y2) in pairwise(curve))


def average_precision(curve: Sequence[tuple[float, float]]) -> float:
    """The area under a precision-recall curve by steps.

    Straight lines between its points would flatter it (Davis and Goadrich, ICML 2006).
    """
    return sum((r2 - r1) * p2 for (r1, _), (r2, p2) in pairwise(((0.0, 1.0), *curve)))


def interpolated_average_precision(curve: Sequence[tuple[float, float]]) -> float:
    """The area under a precision-recall curve whose precision never rises with recall: PASCAL VOC's from 2010 on.

    The precision at a recall is the greatest at that recall or beyond (as the VOC2010 development kit says).
    """
    best, area, recall_after = 0.0, 0.0, 1.0
    for recall, precision in reversed(curve):
        area += best * (recall_after - recall)
        best, recall_after = max(best, precision), recall
    return area + best * recall_after


def eleven_point_precision(curve: Sequence[tuple[float, float]]) -> float:
    """The mean of that precision at the recalls 0, 0.1 … 1: PASCAL VOC's up to 2009 (IJCV 88, 2010)."""
    levels = (level / 10 for level in range(11))
    return sum(max((p for r, p in curve if r >= level - 1e-12), default=0.0) for level in levels) / 11


def _counts(shares: Sequence[float], positive: Sequence[bool]) -> list[tuple[int, int]]:
    """Right and wrong alarms at every threshold, the highest first."""
    right = wrong = 0
    counts: list[tuple[int, int]] = []
    last = math.nan
    for share, is_positive in sorted(zip(shares, positive, strict=True), key=lambda pair: -pair[0]):
        right, wrong = right + is_positive, wrong + (not is_positive)
        if share == last:
            counts[-1] = (right, wrong)
        else:
            counts.append((right, wrong))
        last = share
    return counts


def _correlation(both: int, only_first: int, only_second: int, neither: int) -> float:
    """Newcombe's continuity-corrected phi of the 2 x 2 table."""
    margins = (both + only_first) * (only_second + neither) * (both + only_second) * (only_first + neither)
    if margins == 0:
        return 0.0
    excess = both * neither - only_first * only_second
    total = both + only_first + only_second + neither
    corrected = max(excess - total / 2, 0) if excess > 0 else excess
    return float(corrected / math.sqrt(margins))
