"""How good answers are: pure functions of logits [n, outputs] and labels [n], in NumPy.

Logits of a sigmoid head are [n, 1]: positive means label 1. Losses are means in nats; the others are fractions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from toolkit.artifacts import ClassScore, Evaluation
from toolkit.statistics import wilson


def evaluate(logits: np.ndarray, labels: np.ndarray, names: Sequence[str], part: str) -> Evaluation:
    """All that is said of a model on the pictures of one part."""
    predicted = predictions(logits)
    table = confusion(labels, predicted, len(names))
    correct = int(np.trace(table))
    return Evaluation(
        part=part,
        pictures=len(labels),
        loss=cross_entropy(logits, labels),
        accuracy=correct / max(len(labels), 1),
        interval=wilson(correct, len(labels)),
        top5=top_k(logits, labels, 5) if len(names) > 5 else None,
        classes=class_scores(table, names),
        confusion=tuple(tuple(int(count) for count in row) for row in table),
        predictions=tuple(int(label) for label in predicted),
    )


def predictions(logits: np.ndarray) -> np.ndarray:
    """The likeliest label per picture [n]; the first of equals."""
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


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    """The loss that fits the head: binary for one output, categorical for more."""
    if logits.shape[1] == 1:
        return binary_cross_entropy(logits[:, 0], labels)
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


def top_k(logits: np.ndarray, labels: np.ndarray, count: int) -> float:
    """The share of pictures whose label is among the `count` likeliest."""
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


def _share(part: int, whole: int) -> float:
    return float(part / whole) if whole else 0.0
