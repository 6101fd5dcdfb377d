"""Detect runs that learned nothing, or something wrong, and name the usual causes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from toolkit.artifacts.model import Epoch, Evaluation
from toolkit.errors import DataError

CAUSES: tuple[str, ...] = (
    "labels of the wrong shape or type for the loss",
    "a learning rate too high for a cold head",
    "a frozen backbone with batch-norm in training mode",
    "wrong input scaling",
)
NO_NUMBER_CAUSES: tuple[str, ...] = (
    "a learning rate too high",
    "weights from a file that is damaged or not this network's",
    "wrong input scaling",
)
RISING_CAUSES: tuple[str, ...] = (
    "a learning rate too high for the weights it starts from",
    "too few images for so many units: it memorizes them (dropout, fewer hidden units)",
    "validation images unlike the training ones",
    "batch-norm statistics that follow small batches",
)
SILENT_CAUSES: tuple[str, ...] = (
    "too few epochs: the first thing learned is how rare each label is",
    'labels so rare that predicting none pays off (class_weights = "balanced")',
)
ENOUGH_EPOCHS = 3
"""From how many epochs on a validation loss may be said to only rise."""


def warnings_for(evaluation: Evaluation, *, weights: str, stage: str, history: Sequence[Epoch] = ()) -> tuple[str, ...]:
    """What a reader of this evaluation and its epochs must be warned of; empty if it learned something."""
    like_chance = _like_the_majority if evaluation.multilabel is None else _like_chance
    return (*like_chance(evaluation, weights=weights, stage=stage), *_only_rising(history))


def raise_on_nan(loss: float, what: str, epoch: int, where: str) -> None:
    """Stop a run whose loss says nothing any more.

    Raises:
        DataError: `loss` is NaN or infinite; names the usual causes.
    """
    if not math.isfinite(loss):
        raise DataError(
            f"the {what} is no longer a number in epoch {epoch}. Usual causes: {'; '.join(NO_NUMBER_CAUSES)}",
            where=where,
            remedy="lower the stage's learning_rate",
        )


def _only_rising(history: Sequence[Epoch]) -> tuple[str, ...]:
    """The validation loss was never below the first epoch's, and rose after each."""
    losses = [epoch.val_loss for epoch in history]
    if len(losses) < ENOUGH_EPOCHS or any(after <= before for before, after in pairwise(losses)):
        return ()
    text = (
        f"the validation loss only rises, from {losses[0]:.4f} to {losses[-1]:.4f} in {len(losses)} epochs: training "
        f"makes it worse. Usual causes: {'; '.join(RISING_CAUSES)}"
    )
    return (text,)


def _like_the_majority(evaluation: Evaluation, *, weights: str, stage: str) -> tuple[str, ...]:
    """Whether it may as well name the commonest class always.

    A run that always names the commonest class is right as often as that class occurs (p); a run within one standard
    error of it, sqrt(p (1 - p) / n), cannot be told from one.
    """
    majority = max(score.support for score in evaluation.classes) / max(evaluation.images, 1)
    error = math.sqrt(majority * (1 - majority) / max(evaluation.images, 1))
    if evaluation.accuracy > majority + error:
        return ()
    text = (
        f"accuracy {evaluation.accuracy:.3f} is within one standard error ({error:.3f}) of the majority rate "
        f"{majority:.3f}: it may have learned nothing. Usual causes: {_causes(weights, stage)}"
    )
    return (text,)


def _like_chance(evaluation: Evaluation, *, weights: str, stage: str) -> tuple[str, ...]:
    """Whether a model for many labels ranks images no better than at random, or says no label of any image.

    At random the area under a label's ROC curve is 1/2 with the standard error sqrt((p + n + 1) / (12 p n)) for p images
    with it and n without (Mann and Whitney, Annals of Mathematical Statistics 18, 1947); those of K labels' mean are
    pooled as if they were independent.
    """
    areas, variance = [], 0.0
    tables = evaluation.multilabel.confusions if evaluation.multilabel else ()
    for score, (absent, present) in zip(evaluation.classes, tables, strict=True):
        if score.roc_auc is not None:
            areas.append(score.roc_auc)
            variance += (sum(absent) + sum(present) + 1) / (12 * sum(absent) * sum(present))
    warnings = []
    if areas and sum(areas) / len(areas) <= 1 / 2 + (error := math.sqrt(variance) / len(areas)):
        warnings.append(
            f"the mean area under the ROC curves, {sum(areas) / len(areas):.3f}, is within one standard error "
            f"({error:.3f}) of chance, 0.5: it may have learned nothing. Usual causes: {_causes(weights, stage)}"
        )
    if tables and not any(entry for rows in tables for _, entry in rows):
        warnings.append(
            f"it predicts no label for any image: every probability is at most a half. Usual causes: {'; '.join(SILENT_CAUSES)}"
        )
    return tuple(warnings)


def _causes(weights: str, stage: str) -> str:
    causes = "; ".join(CAUSES)
    if weights == "none" and stage == "top":
        return f"the frozen backbone has random weights, so its features say little; {causes}"
    return causes
