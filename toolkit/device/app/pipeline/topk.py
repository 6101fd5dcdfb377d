"""Most probable labels of an answer, selected without sorting all classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from ...release.manifest import is_multi_label

if TYPE_CHECKING:
    from .messages import Answer

TOP = 5


def top_k(answer: Answer, labels: Sequence[str], count: int = TOP) -> List[Tuple[str, float]]:
    """Return at most `count` (label, probability) of f32 [classes], descending.

    A single value is the probability of the second of two labels.
    """
    values = np.array([1 - answer[0], answer[0]], np.float32) if len(answer) == 1 else answer
    if len(values) > count:
        chosen = np.argpartition(-values, count - 1)[:count]
        order = chosen[np.argsort(-values[chosen], kind="stable")]
    else:
        order = np.argsort(-values, kind="stable")
    return [(labels[index], float(values[index])) for index in order]


def labels_above_threshold(answer: Answer, manifest: Dict[str, Any]) -> Optional[List[str]]:
    """Return the labels above 1/2, most probable first, of a multi-label model; else None."""
    if not is_multi_label(manifest):
        return None
    above = [(label, value) for label, value in top_k(answer, manifest["labels"], len(answer)) if value > 1 / 2]
    return [label for label, _ in above]


def answer_label(ranking: Sequence[Tuple[str, float]], labels: Optional[Sequence[str]]) -> Tuple[str, float]:
    """Return an answer as one label, and the probability of the best guess; a multi-label model's labels are joined."""
    best, probability = ranking[0]
    return (best if labels is None else ", ".join(sorted(labels)) or "(none)"), probability
