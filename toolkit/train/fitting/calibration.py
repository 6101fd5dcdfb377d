"""Temperature scaling, fitted on validation images; pure functions in NumPy."""

from __future__ import annotations

import numpy as np

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


def _loss_at(log_temperature: float, logits: np.ndarray, labels: np.ndarray, loss: str) -> float:
    return dispatch.cross_entropy(logits / np.exp(log_temperature), labels, loss)
