"""ROC and precision-recall curves, and the areas under them: pure, each with its source. Fractions are 0…1.

A curve is an array f64 [points, 2]; one without points is [0, 2].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Curve: TypeAlias = npt.NDArray[np.float64]
_NONE = np.empty((0, 2))


def roc_curve(shares: npt.ArrayLike, positive: npt.ArrayLike) -> Curve:
    """(false positive rate, true positive rate) at every threshold, from (0, 0) to (1, 1); empty without both kinds.

    Equal shares are one threshold (Fawcett, Pattern Recognition Letters 27, 2006).
    """
    right, wrong = _counts(shares, positive)
    if not len(right) or not right[-1] or not wrong[-1]:
        return _NONE
    return np.vstack([(0.0, 0.0), np.stack([wrong / wrong[-1], right / right[-1]], axis=1)])


def precision_recall_curve(shares: npt.ArrayLike, positive: npt.ArrayLike) -> Curve:
    """(recall, precision) at every threshold, the highest first; empty without positives."""
    right, wrong = _counts(shares, positive)
    if not len(right) or not right[-1]:
        return _NONE
    return np.stack([right / right[-1], right / (right + wrong)], axis=1)


def area_under(curve: Curve | Sequence[tuple[float, float]]) -> float:
    """The area under a curve of straight lines: of a ROC curve, its AUC."""
    x, y = _axes(curve)
    return float(np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2))


def average_precision(curve: Curve | Sequence[tuple[float, float]]) -> float:
    """The area under a precision-recall curve by steps.

    Straight lines between its points would flatter it (Davis and Goadrich, ICML 2006).
    """
    recall, precision = _axes(curve)
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def interpolated_average_precision(curve: Curve) -> float:
    """The area under a precision-recall curve whose precision never rises with recall: PASCAL VOC's from 2010 on.

    The precision at a recall is the greatest at that recall or beyond (as the VOC2010 development kit says).
    """
    recall, precision = _axes(curve)
    return float(np.sum(np.diff(recall, prepend=0.0) * np.maximum.accumulate(precision[::-1])[::-1]))


def eleven_point_precision(curve: Curve) -> float:
    """The mean of that precision at the recalls 0, 0.1 … 1: PASCAL VOC's up to 2009 (IJCV 88, 2010)."""
    recall, precision = _axes(curve)
    levels = (level / 10 for level in range(11))
    return float(sum(np.max(precision[recall >= level - 1e-12], initial=0.0) for level in levels) / 11)


def _axes(curve: Curve | Sequence[tuple[float, float]]) -> tuple[Curve, Curve]:
    points = np.asarray(curve, np.float64).reshape(-1, 2)
    return points[:, 0], points[:, 1]


def _counts(shares: npt.ArrayLike, positive: npt.ArrayLike) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Right and wrong alarms at every threshold, the highest first."""
    values, truth = np.asarray(shares, np.float64), np.asarray(positive, bool)
    if values.shape != truth.shape:
        raise ValueError(f"{len(values)} shares, but {len(truth)} truths")
    order = np.argsort(-values, kind="stable")
    sorted_values = values[order]
    last_of_equals = np.flatnonzero(np.append(sorted_values[1:] != sorted_values[:-1], True)[: len(values)])
    right = np.cumsum(truth[order], dtype=np.int64)[last_of_equals]
    return right, last_of_equals + 1 - right
