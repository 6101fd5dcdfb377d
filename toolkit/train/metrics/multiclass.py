"""Single-label metrics: pure functions of logits [n, outputs] and labels [n], in NumPy.

Logits of a sigmoid head are [n, 1]: positive means label 1. Losses are means in nats; the others are fractions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from toolkit.artifacts.model import Calibration, CalibrationBin, ClassScore, Evaluation
from toolkit.stats import curves, intervals

BINS = 15
"""As Guo et al. (On Calibration of Modern Neural Networks, ICML 2017) took."""


def evaluate(logits: np.ndarray, labels: np.ndarray, names: Sequence[str], part: str, loss: str = "auto") -> Evaluation:
    """All that is said of a model on the images of one part."""
    predicted = predictions(logits)
    shares = probabilities(logits)
    table = confusion(labels, predicted, len(names))
    correct = int(np.trace(table))
    return Evaluation(
        subset=part,
        images=len(labels),
        loss=cross_entropy(logits, labels, loss),
        accuracy=correct / max(len(labels), 1),
        interval=intervals.wilson(correct, len(labels)),
        top5=top_k(logits, labels, 5) if len(names) > 5 else None,
        classes=with_areas(class_scores(table, names), shares, labels),
        confusion=tuple(tuple(int(count) for count in row) for row in table),
        predictions=tuple(int(label) for label in predicted),
        probabilities=tuple(tuple(row) for row in (shares[:, 1:] if len(names) == 2 else shares).round(6).tolist()),
        calibration=calibration(shares.max(axis=1), predicted == labels),
    )


def predictions(logits: np.ndarray) -> np.ndarray:
    """The likeliest label per image [n]; the first of equals."""
    labels: np.ndarray = two_sided(logits).argmax(axis=1)
    return labels


def probabilities(logits: np.ndarray) -> np.ndarray:
    """[n, classes], each row summing to 1; a sigmoid's logits give both classes."""
    wide = two_sided(logits).astype(np.float64)
    powers = np.exp(wide - wide.max(axis=1, keepdims=True))
    shares: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return shares


def two_sided(logits: np.ndarray) -> np.ndarray:
    """Logits with a column per class: sigmoid(z) is the softmax of (0, z)."""
    return np.hstack([np.zeros_like(logits), logits]) if logits.shape[1] == 1 else logits


def cross_entropy(logits: np.ndarray, labels: np.ndarray, loss: str = "auto") -> float:
    """The loss that was trained, of plain labels; "auto": binary for one output, categorical for more.

    Sparse categorical cross-entropy is the categorical one, written with fewer numbers.
    """
    if logits.shape[1] == 1:
        return binary_cross_entropy(logits[:, 0], labels)
    if loss == "binary":
        return softmax_binary_cross_entropy(logits, labels)
    return categorical_cross_entropy(logits, labels)


def binary_cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean of max(z, 0) - z y + log(1 + exp(-|z|)) over logits z [n] and labels y in {0, 1}.

    The form of TensorFlow's sigmoid_cross_entropy_with_logits: no exponential of it can overflow.
    """
    z = logits.astype(np.float64)
    return float(np.mean(np.maximum(z, 0) - z * labels + np.log1p(np.exp(-np.abs(z)))))


def categorical_cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean of log(sum_k exp(z_k - m)) + m - z_y with m = max_k z_k, over logits z [n, classes].

    The log-sum-exp trick (Blanchard, Higham and Higham, IMA Journal of Numerical Analysis 41, 2021).
    """
    z = logits.astype(np.float64)
    top = z.max(axis=1)
    totals = np.log(np.exp(z - top[:, None]).sum(axis=1)) + top
    return float(np.mean(totals - z[np.arange(len(z)), labels]))


def softmax_binary_cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean over images and classes of -(y log p + (1 - y) log(1 - p)), p = softmax(logits), y one-hot.

    log(1 - p_k) is the log-sum-exp of the other classes' logits less that of all: nothing is taken from 1. That of the others
    is summed from both ends, so that the time grows with the classes, not with their square.
    """
    z = logits.astype(np.float64)
    z -= z.max(axis=1, keepdims=True)
    total = np.log(np.exp(z).sum(axis=1))
    nothing = np.full((len(z), 1), -np.inf)
    before = np.hstack([nothing, np.logaddexp.accumulate(z, axis=1)[:, :-1]])
    after = np.hstack([np.logaddexp.accumulate(z[:, ::-1], axis=1)[:, ::-1][:, 1:], nothing])
    log_not_p = np.logaddexp(before, after) - total[:, None]
    rows = np.arange(len(z))
    log_likelihood = z[rows, labels] - total + log_not_p.sum(axis=1) - log_not_p[rows, labels]
    return float(-np.mean(log_likelihood) / z.shape[1])


def calibration(confidences: np.ndarray, right: np.ndarray) -> Calibration:
    """The expected calibration error over equal bins of confidence (Naeini, Cooper and Hauskrecht, AAAI 2015).

    Args:
        confidences: The probability of each answer given, [n].
        right: Whether that answer was right, [n].
    """
    places = np.minimum((confidences * BINS).astype(int), BINS - 1)
    bins = tuple(_calibration_bin(confidences[places == place], right[places == place]) for place in range(BINS))
    error = sum(own.images * abs(own.accuracy - own.confidence) for own in bins)
    return Calibration(ece=error / max(len(right), 1), bins=bins)


def with_areas(classes: Sequence[ClassScore], shares: np.ndarray, labels: np.ndarray) -> tuple[ClassScore, ...]:
    """The same scores with the areas under each class's ROC and precision-recall curves, it against all others."""
    return tuple(_with_area(score, shares[:, index], labels == index) for index, score in enumerate(classes))


def top_k(logits: np.ndarray, labels: np.ndarray, count: int) -> float:
    """The share of images whose label is among the `count` likeliest."""
    likeliest = np.argsort(-two_sided(logits), axis=1, kind="stable")[:, :count]
    return float(np.mean((likeliest == labels[:, None]).any(axis=1)))


def confusion(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Counts [classes, classes]: rows are true labels, columns predicted ones."""
    table = np.zeros((classes, classes), np.int64)
    np.add.at(table, (labels, predicted), 1)
    return table


def class_scores(table: np.ndarray, names: Sequence[str]) -> tuple[ClassScore, ...]:
    """Precision, recall and their harmonic mean per class; 0 where nothing was predicted or there is nothing to find."""
    return tuple(
        ClassScore(
            label=name,
            precision=_share(table[index, index], table[:, index].sum()),
            recall=_share(table[index, index], table[index].sum()),
            f1=_share(2 * table[index, index], table[:, index].sum() + table[index].sum()),
            support=int(table[index].sum()),
        )
        for index, name in enumerate(names)
    )


def _with_area(score: ClassScore, shares: np.ndarray, positive: np.ndarray) -> ClassScore:
    roc = curves.roc_curve(shares, positive)
    trade = curves.precision_recall_curve(shares, positive)
    return replace(
        score,
        roc_auc=curves.area_under(roc) if len(roc) else None,
        average_precision=curves.average_precision(trade) if len(trade) else None,
    )


def _calibration_bin(confidences: np.ndarray, right: np.ndarray) -> CalibrationBin:
    if not len(right):
        return CalibrationBin(images=0, confidence=0.0, accuracy=0.0)
    return CalibrationBin(images=len(right), confidence=float(confidences.mean()), accuracy=float(right.mean()))


def _share(part: int, whole: int) -> float:
    return float(part / whole) if whole else 0.0
