"""Leave-one-class-out strangers: each class in turn is left out, and a head for the others classifies its test images.

The heads are linear, on the frozen features, so this takes seconds. They represent the head of the top stage; a fine-tuned
body has seen every class and cannot be used.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from toolkit.artifacts.model import StrangerResult
from toolkit.train.fitting import calibration, logistic, rejection_rule
from toolkit.train.fitting.loop import Examples

MOST = 20
"""Classes that are left out, at most: the first and others at equal distances."""
STRENGTHS = (0.1, 0.01)
_FEWEST = 3


def leave_one_out(features: Mapping[str, Examples], error: float) -> StrangerResult | None:
    """The sums and, for the areas, the means over the classes left out; None with fewer than three classes to train on.

    Args:
        features: Frozen features and labels of "train", "validation" and "test".
        error: The share of wrong answers that each rule is fitted for.
    """
    present = np.unique(features["train"].labels)
    if len(present) < _FEWEST:
        return None
    chosen = present[np.unique(np.linspace(0, len(present) - 1, min(MOST, len(present))).round().astype(int))]
    tested = [label for label in chosen if _can_be_left_out(features, label)]
    results = [_without(features, present, label, error) for label in tested]
    if not results:
        return None
    images = [result.images for result in results]
    return StrangerResult(
        images=sum(images),
        unknown=sum(result.unknown for result in results),
        auroc=float(np.average([result.auroc for result in results], weights=images)),
        auroc_of_probability=float(np.average([result.auroc_of_probability for result in results], weights=images)),
        classes_left_out=len(results),
    )


def _can_be_left_out(features: Mapping[str, Examples], label: int) -> bool:
    """Whether there are test images of it, and validation and test images of others."""
    strangers = features["test"].labels == label
    return bool(strangers.any() and not strangers.all() and (features["validation"].labels != label).any())


def _without(features: Mapping[str, Examples], present: np.ndarray, left_out: int, error: float) -> StrangerResult:
    """How images of `left_out` are treated by a head and a rule that were fitted without it."""
    others = present[present != left_out]

    def known(part: str) -> tuple[np.ndarray, np.ndarray]:
        rows = np.isin(features[part].labels, others)
        return features[part].inputs[rows], np.searchsorted(others, features[part].labels[rows])

    inputs, labels = known("train")
    targets = np.eye(len(others), dtype=np.float32)[labels]
    head = logistic.fit(inputs, targets, np.ones(len(labels), np.float32), STRENGTHS)[-1]
    held_out, held_out_labels = known("validation")
    logits = head.logits(held_out)
    temperature = calibration.fit_temperature(logits, held_out_labels)
    rule = rejection_rule.fit_rejection(logits, held_out_labels, error, temperature)
    strangers = features["test"].inputs[features["test"].labels == left_out]
    return rejection_rule.stranger_result(rule, head.logits(known("test")[0]), head.logits(strangers))
