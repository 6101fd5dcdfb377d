"""Runs that learned nothing are noticed and named, with the usual causes."""

from __future__ import annotations

import math

from toolkit.artifacts import Evaluation

CAUSES: tuple[str, ...] = (
    "labels of the wrong shape or type for the loss",
    "a learning rate too high for a cold head",
    "a frozen backbone with batch-norm in training mode",
    "wrong input scaling",
)


def warnings_for(evaluation: Evaluation, *, weights: str, stage: str) -> tuple[str, ...]:
    """What a reader of this evaluation must be warned of; empty if it learned something.

    A run that always names the commonest class is right as often as that class occurs (p); a run within one standard
    error of it, sqrt(p (1 - p) / n), cannot be told from one.
    """
    majority = max(score.support for score in evaluation.classes) / max(evaluation.pictures, 1)
    error = math.sqrt(majority * (1 - majority) / max(evaluation.pictures, 1))
    if evaluation.accuracy > majority + error:
        return ()
    causes = "; ".join(CAUSES)
    if weights == "none" and stage == "top":
        causes = f"the frozen backbone has random weights, so its features say little; {causes}"
    text = (
        f"accuracy {evaluation.accuracy:.3f} is within one standard error ({error:.3f}) of the majority rate "
        f"{majority:.3f}: it may have learned nothing. Usual causes: {causes}"
    )
    return (text,)
