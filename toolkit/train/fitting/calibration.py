"""Temperature scaling and a threshold for "unknown", both fitted on validation images; pure functions in NumPy."""

from __future__ import annotations

import numpy as np

from toolkit.artifacts.model import Rejection
from toolkit.train.metrics import dispatch

_LOWEST, _HIGHEST, _ROUNDS = -3.0, 3.0, 60
"""Bounds of the temperature's natural logarithm, and the steps of the search."""


def fit_temperature(logits: np.ndarray, labels: np.ndarray, loss: str = "auto") -> float:
    """The temperature by which logits give the lowest cross-entropy (Guo et al., ICML 2017).

    The loss is convex in the inverse temperature, so that its logarithm has one minimum; found by golden sections.
    """
    ratio = (5**0.5 - 1) / 2
    low, high = _LOWEST, _HIGHEST
    for _ in range(_ROUNDS):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if _loss_at(left, logits, labels, loss) <= _loss_at(right, logits, labels, loss):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))


def fit_rejection(logits: np.ndarray, labels: np.ndarray, error: float, temperature: float) -> Rejection:
    """The lowest threshold on the largest probability at which no more than `error` of the answers given are wrong.

    The error rate of the answers above a threshold is estimated by its posterior mean under Jeffreys' prior, (wrong +
    1/2) / (accepted + 1), so that a threshold from few images stays cautious: for an error of 0.02 it takes at least 24
    validation images that are answered rightly.

    Args:
        logits: Of the validation images, [n, outputs], one label each.
        labels: [n].
        error: The share of wrong answers among those given that is accepted.
        temperature: What logits are divided by.
    """
    probabilities = dispatch.probabilities(logits / temperature, multi_label=False)
    confidences, wrong = probabilities.max(axis=1), probabilities.argmax(axis=1) != labels
    order = np.argsort(-confidences, kind="stable")
    errors, accepted = np.cumsum(wrong[order]), np.arange(1, len(order) + 1)
    # A threshold accepts all answers of one confidence or none of them.
    ends = np.append(np.diff(confidences[order]) != 0, True)
    fits = ends & ((errors + 0.5) / (accepted + 1) <= error)
    count = int(np.flatnonzero(fits)[-1]) + 1 if fits.any() else 0
    return Rejection(
        error=error,
        temperature=temperature,
        threshold=_threshold(confidences[order], count),
        validation_error=float(errors[count - 1] / count) if count else 0.0,
        coverage=count / max(len(order), 1),
    )


def _threshold(sorted_confidences: np.ndarray, count: int) -> float:
    """Between the last confidence that is accepted and the first that is not."""
    if count == 0:
        return 1.0
    if count == len(sorted_confidences):
        return 0.0
    return float((sorted_confidences[count - 1] + sorted_confidences[count]) / 2)


def _loss_at(log_temperature: float, logits: np.ndarray, labels: np.ndarray, loss: str) -> float:
    return dispatch.cross_entropy(logits / np.exp(log_temperature), labels, loss)
