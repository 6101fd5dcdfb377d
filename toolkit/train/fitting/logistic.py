"""Regularized logistic regression on frozen features, solved to its optimum in NumPy.

minimize over W, b:  mean over images of the cross-entropy of X W + b, plus l2 / 2 times the squared norm of W

The problem is convex, so the result depends on the data alone: no learning rate, no epochs, no seed. Features are
standardized first, and the scaling is folded back into W and b. The solver is L-BFGS with a backtracking line search
(Nocedal and Wright, Numerical Optimization, algorithms 7.4 and 3.1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

STRENGTHS = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
"""The values of l2 that `fit_best` compares, the strongest first: each starts from the solution of the one before."""
_MEMORY, _STEPS, _TOLERANCE = 10, 100, 1e-4

Gradient = Callable[[np.ndarray], tuple[float, np.ndarray]]


@dataclass(frozen=True, slots=True)
class LinearModel:
    """Logits are `features @ kernel + bias`."""

    kernel: np.ndarray
    bias: np.ndarray

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Logits [n, outputs] of features [n, channels]."""
        return np.asarray(features @ self.kernel + self.bias)


def fit(
    features: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray,
    strengths: Sequence[float] = STRENGTHS,
    *,
    shared: bool = True,
) -> list[LinearModel]:
    """The optimum for each strength of the regularization.

    Args:
        features: [n, channels].
        targets: Probabilities [n, outputs].
        weights: How much each image counts, [n]; or each of its labels, [n, outputs].
        strengths: Values of l2, the strongest first.
        shared: Whether the outputs share one softmax; otherwise each is a sigmoid of its own.
    """
    mean = features.mean(axis=0, dtype=np.float64)
    scale = features.std(axis=0, dtype=np.float64) + 1e-6
    rows = ((features - mean) / scale).astype(np.float32)
    counts = weights if weights.ndim == 2 else weights[:, None]
    objective = _softmax_objective if shared else _sigmoid_objective
    flat, models = np.zeros((rows.shape[1] + 1) * targets.shape[1]), []
    for l2 in strengths:
        flat = minimize(objective(rows, targets.astype(np.float32), counts.astype(np.float32), l2), flat)
        table = flat.reshape(-1, targets.shape[1])
        kernel = table[:-1] / scale[:, None]
        models.append(LinearModel(kernel.astype(np.float32), (table[-1] - mean @ kernel).astype(np.float32)))
    return models


def minimize(gradient: Gradient, start: np.ndarray) -> np.ndarray:
    """Where a smooth convex function is smallest, by L-BFGS from `start`; `gradient` gives its value and gradient."""
    point, (value, slope) = start, gradient(start)
    pairs: list[tuple[np.ndarray, np.ndarray]] = []
    for _ in range(_STEPS):
        if np.abs(slope).max() <= _TOLERANCE:
            break
        direction = -_scaled(slope, pairs)
        step, drop = 1.0, float(direction @ slope)
        while True:
            candidate = point + step * direction
            new_value, new_slope = gradient(candidate)
            if new_value <= value + 1e-4 * step * drop:
                break
            step /= 2
            if step < 1e-10:
                return point
        moved, change = candidate - point, new_slope - slope
        if moved @ change > 0:
            pairs = [*pairs[-_MEMORY + 1 :], (moved, change)]
        point, value, slope = candidate, new_value, new_slope
    return point


def _scaled(slope: np.ndarray, pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """The inverse Hessian's estimate from the last steps, times the gradient (two-loop recursion)."""
    result, shares = slope.copy(), []
    for moved, change in reversed(pairs):
        share = (moved @ result) / (moved @ change)
        result -= share * change
        shares.append(share)
    if pairs:
        moved, change = pairs[-1]
        result *= (moved @ change) / (change @ change)
    else:
        result /= max(1.0, float(np.abs(slope).sum()))
    for (moved, change), share in zip(pairs, reversed(shares), strict=True):
        result += (share - (change @ result) / (moved @ change)) * moved
    return result


def _softmax_objective(rows: np.ndarray, targets: np.ndarray, counts: np.ndarray, l2: float) -> Gradient:
    def losses(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        shifted = logits - logits.max(axis=1, keepdims=True)
        powers = np.exp(shifted)
        total = powers.sum(axis=1, keepdims=True)
        return -targets * (shifted - np.log(total)), powers / total

    return _objective(rows, targets, counts, l2, losses)


def _sigmoid_objective(rows: np.ndarray, targets: np.ndarray, counts: np.ndarray, l2: float) -> Gradient:
    def losses(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        powers = np.exp(-np.abs(logits))
        shares = np.where(logits >= 0, 1, powers) / (1 + powers)
        return np.maximum(logits, 0) - logits * targets + np.log1p(powers), shares

    return _objective(rows, targets, counts, l2, losses)


def _objective(
    rows: np.ndarray,
    targets: np.ndarray,
    counts: np.ndarray,
    l2: float,
    losses: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
) -> Gradient:
    def gradient(flat: np.ndarray) -> tuple[float, np.ndarray]:
        table = flat.reshape(-1, targets.shape[1])
        each, shares = losses(rows @ table[:-1].astype(np.float32) + table[-1].astype(np.float32))
        off = counts * (shares - targets) / len(rows)
        slope = np.vstack([rows.T @ off + l2 * table[:-1], off.sum(axis=0)])
        value = float((counts * each).sum(dtype=np.float64)) / len(rows) + l2 / 2 * float((table[:-1] ** 2).sum())
        return value, slope.ravel()

    return gradient
