"""Decide whether a stage improved its model over the previous stage, on the validation images."""

from __future__ import annotations

from toolkit.artifacts.model import TrainedModel, ValidationResult
from toolkit.stats import intervals

SIGNIFICANT = 0.05
"""Below this p-value of McNemar's exact test, two models are not equally often right."""


def withhold_reason(before: TrainedModel | None, stage: str, after: ValidationResult) -> str:
    """Why a stage's model is not offered; empty if it is.

    The stage must lower the validation loss, both losses at their best temperatures, so that a model is not judged by how
    sure it is. The paired test on the same images overrules a difference that points the other way.
    """
    if before is None or before.validation is None:
        return ""
    pairs = list(zip(before.validation.correct, after.correct, strict=True))
    lost, won = sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs)
    p_value = intervals.mcnemar(lost, won)
    significant = p_value < SIGNIFICANT
    higher = after.loss >= before.validation.loss
    if not (higher and not (significant and won > lost)) and not (significant and lost > won):
        return ""
    return (
        f"{stage} ended below {before.stage}: validation loss {after.loss:.4f} after {before.validation.loss:.4f}; "
        f"{lost} of {len(pairs)} validation images are no longer right and {won} newly are (McNemar p = {p_value:.2g}). "
        f"The model of {before.stage} is offered instead"
    )
