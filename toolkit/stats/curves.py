"""ROC and precision-recall curves, and the areas under them: pure, each with its source. Fractions are 0…1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise


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
