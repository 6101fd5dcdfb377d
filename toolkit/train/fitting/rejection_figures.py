"""Fit the rejection rule of a trained model, and evaluate it on test images and strangers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from toolkit import networks
from toolkit.artifacts.model import Rejection, StrangerResult, TrainedModel
from toolkit.data.decoding import DecodingError, decode_file
from toolkit.device.image_header import IMAGE_SUFFIXES
from toolkit.errors import DataError
from toolkit.train.features import frozen_features
from toolkit.train.fitting import rejection_rule
from toolkit.train.fitting.left_out import leave_one_out
from toolkit.train.fitting.loop import batched_predict

if TYPE_CHECKING:
    import keras

    from toolkit.train.trial_context import SubsetArrays, TrialContext


def rejection_of(
    context: TrialContext,
    model: keras.Model,
    validation: tuple[np.ndarray, np.ndarray, float],
    test: tuple[np.ndarray, np.ndarray],
    left_out: StrangerResult | None = None,
) -> Rejection | None:
    """The rule that the trial asks for, if it asks for one and its images have one label each.

    Args:
        context: The trial.
        model: Trained.
        validation: Logits and labels, and the temperature fitted on them.
        test: Logits and labels.
        left_out: How strangers are treated, where the trial asks for "leave-one-out".
    """
    requested = context.trial.reject
    if requested is None or context.head.multi_label:
        return None
    logits, labels, temperature = validation
    rule = judge(rejection_rule.fit_rejection(logits, labels, requested.error, temperature), *test)
    if requested.strangers_folder is None:
        return replace(rule, strangers=left_out)
    others = _logits_of(context, model, context.experiment.resolve_path(requested.strangers_folder))
    return replace(rule, strangers=rejection_rule.stranger_result(rule, test[0], others))


def left_out_result(
    context: TrialContext,
    stage: str,
    model: keras.Model,
    subsets: dict[str, SubsetArrays],
    before: TrainedModel | None,
) -> StrangerResult | None:
    """How classes that are left out are treated, if the trial asks for it; a later stage has the top stage's result."""
    requested = context.trial.reject
    if requested is None or requested.strangers != "leave-one-out" or context.head.multi_label:
        return None
    if stage != "top":
        return before.rejection.strangers if before and before.rejection else None
    result = leave_one_out(frozen_features(context, model, subsets), requested.error)
    if result is None:
        context.progress.log(f"  {context.trial.name}: no class is left out as a stranger, which takes three classes")
    return result


def judge(rule: Rejection, logits: np.ndarray, labels: np.ndarray) -> Rejection:
    """The rule with its figures on test images."""
    sureness, wrong = rejection_rule.judged(logits, labels, rule.score, rule.temperature)
    answered = rejection_rule.accepted(rule, logits)
    return replace(
        rule,
        test_images=len(labels),
        test_answers=int(answered.sum()),
        test_errors=int(wrong[answered].sum()),
        curve=rejection_rule.risk_coverage(sureness, wrong),
    )


def _logits_of(context: TrialContext, model: keras.Model, folder: Path) -> np.ndarray:
    """Of every image in a folder and the folders in it.

    Raises:
        DataError: there is none, or one cannot be read.
    """
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise DataError("holds no image", where=str(folder), remedy="name a folder of images in reject.strangers")
    return batched_predict(networks.logits_part(model))(
        np.stack([_pixels(path, context) for path in paths]), context.trial.batch_size
    )


def _pixels(path: Path, context: TrialContext) -> np.ndarray:
    try:
        return decode_file(path, context.size, context.trial.crop)
    except DecodingError as error:
        raise DataError(str(error)) from error
