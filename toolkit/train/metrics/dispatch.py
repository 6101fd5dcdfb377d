"""Compute metrics for single-label (labels [n]) and multi-label (labels [n, classes]) models."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from toolkit.artifacts.model import Evaluation
from toolkit.train.metrics import multiclass, multilabel


def evaluate(logits: np.ndarray, labels: np.ndarray, names: Sequence[str], part: str, loss: str = "auto") -> Evaluation:
    """All that is said of a model on the images of one part."""
    if labels.ndim == 1:
        return multiclass.evaluate(logits, labels, names, part, loss)
    return multilabel.evaluate(logits, labels, names, part)


def is_correct(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Which images are classified correctly, bool [n]; with several labels, all must be right (exact match)."""
    if labels.ndim == 1:
        return np.asarray(multiclass.predictions(logits) == labels)
    return multilabel.exact_match(logits > 0, labels)


def cross_entropy(logits: np.ndarray, labels: np.ndarray, loss: str = "auto") -> float:
    """The loss that was trained, of plain labels."""
    if labels.ndim == 1:
        return multiclass.cross_entropy(logits, labels, loss)
    return multilabel.cross_entropy(logits, labels)


def probabilities(logits: np.ndarray, *, multi_label: bool) -> np.ndarray:
    """[n, classes]; of one label each row sums to 1, of many each label has its own."""
    return multilabel.probabilities(logits) if multi_label else multiclass.probabilities(logits)
