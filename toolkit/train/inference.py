"""Inference with a trained model: predict single images, and evaluate a folder of labeled ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from toolkit import data, networks
from toolkit.artifacts.model import Evaluation, TrainedModel
from toolkit.data.decoding import DecodingError, decode_file
from toolkit.device import rejection
from toolkit.errors import ConfigurationError, DataError, Problem
from toolkit.experiment.schema import DataConfig, SplitFractions
from toolkit.progress import Progress
from toolkit.train import run_dir
from toolkit.train.fitting.loop import batched_predict
from toolkit.train.metrics import dispatch
from toolkit.train.misclassified import contact_sheet
from toolkit.workspace import Workspace

_BATCH = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierSpec:
    """What a model answers, and the images it takes."""

    labels: tuple[str, ...]
    input_size: tuple[int, int]
    """Height and width."""
    crop: str
    multi_label: bool
    """Whether an image may have many labels."""
    loss: str = "auto"


@dataclass(frozen=True, slots=True)
class ClassProbability:
    """A label and its probability."""

    label: str
    probability: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """What is on one image, the most probable first; or why it cannot be read."""

    image: str
    ranking: tuple[ClassProbability, ...] = ()
    error: str = ""
    labels: tuple[str, ...] | None = None
    """Where an image may have many: those that are said to be on it, above 1/2."""
    unknown: bool | None = None
    """Whether the best guess is too unsure to be an answer; None if the model has no rule for that."""


def predict(file: Path, images: Sequence[Path]) -> tuple[Prediction, ...]:
    """Return the prediction for each image; an unreadable image does not affect the others.

    Raises:
        ConfigurationError: the file has no record beside it that tells its labels.
    """
    model = load_record(file)
    fitted = {path: _fitted(path, model) for path in images}
    pixels = [image for image in fitted.values() if not isinstance(image, str)]
    multi_label = is_multi_label(model)
    shares = iter(dispatch.probabilities(_logits(file, np.stack(pixels)), multi_label=multi_label) if pixels else ())
    return tuple(
        Prediction(str(path), error=image) if isinstance(image, str) else _ranking(path, next(shares), model)
        for path, image in fitted.items()
    )


def evaluate_folder(
    file: Path, folder: Path, workspace: Workspace, progress: Progress, *, mistakes: Path | None = None
) -> Evaluation:
    """The model in `file` judged as `evaluate_images` does.

    Raises:
        ConfigurationError: the file has no record beside it that tells its labels.
        DataError: a class the model does not know, or images that cannot be read.
    """
    model = load_record(file)
    task = ClassifierSpec(
        labels=model.labels,
        input_size=model.input_size,
        crop=model.crop,
        multi_label=is_multi_label(model),
        loss=model.loss,
    )
    return evaluate_images(task, lambda pixels: _logits(file, pixels), folder, workspace, progress, mistakes=mistakes)


def evaluate_images(
    task: ClassifierSpec,
    logits_of: Callable[[np.ndarray], np.ndarray],
    folder: Path,
    workspace: Workspace,
    progress: Progress,
    *,
    mistakes: Path | None = None,
) -> Evaluation:
    """A model judged on the class folders of `folder`, or on its test/ if it has one.

    One for many labels to an image is judged on PASCAL VOC's folder, or a CSV file whose labels stand apart by ";": on
    its test part if it has one. Its worst mistakes are drawn into `mistakes`, a PNG file, if that is given.

    Args:
        task: What the model answers.
        logits_of: Its logits [n, outputs] of images u8 [n, h, w, 3].
        folder: The labeled images.
        workspace: Where what is made of them is cached.
        progress: Told of the work.
        mistakes: The sheet to draw.

    Raises:
        DataError: a class the model does not know, or images that cannot be read.
    """
    split = data.prepare_dataset(_table(folder, multi_label=task.multi_label), folder, workspace, progress)
    strangers = [label for label in split.labels if label not in task.labels]
    if strangers:
        remedy = f"it knows {', '.join(task.labels)}"
        raise DataError.from_problems([Problem("the model does not have this class", s, remedy) for s in strangers])
    images = [
        _as_the_model_has(image, split.labels, task.labels)
        for image in data.read_manifest(split, workspace)
        if image.subset == "test"
    ]
    pixels = data.load_images(images, task.input_size, task.crop, workspace=workspace, progress=progress)
    labels, logits = data.label_array(images, len(task.labels)), logits_of(pixels)
    if mistakes is not None:
        shares = dispatch.probabilities(logits, multi_label=task.multi_label)
        drawn = contact_sheet(pixels, labels, shares, task.labels, mistakes)
        progress.log(f"mistakes, most confident first: {drawn}, in {mistakes}")
    return dispatch.evaluate(logits, labels, task.labels, "test", task.loss)


def is_multi_label(model: TrainedModel) -> bool:
    """Whether it is for images with many labels."""
    return networks.Head(model.head, model.loss).multi_label


def _table(folder: Path, *, multi_label: bool) -> DataConfig:
    """What lies there, all of it to be judged on unless it has parts."""
    whole: dict[str, Any] = {"path": folder.resolve(), "split": SplitFractions(train=0, validation=0, test=1)}
    if not multi_label:
        return DataConfig(source="folders", **whole)
    if folder.suffix.lower() == ".csv":
        return DataConfig(source="csv", separator=";", **whole)
    return DataConfig(source="voc", **whole)


def _as_the_model_has(image: data.Image, own: Sequence[str], labels: Sequence[str]) -> data.Image:
    """The image with its labels' indices among the model's."""
    if image.labels is None:
        return replace(image, label=labels.index(own[image.label]))
    held, unsure = (tuple(labels.index(own[k]) for k in indices) for indices in (image.labels, image.unsure))
    return replace(image, label=held[0] if held else -1, labels=held, unsure=unsure)


def load_record(file: Path) -> TrainedModel:
    """What is known of a model.keras, from the record beside it.

    Raises:
        ConfigurationError: there is no such record, or the file is not the one it was written for.
    """
    model = run_dir.load_stage(file.parent) if file.name == "model.keras" else None
    if model is None:
        raise ConfigurationError(
            "not a complete model: its trained.json is missing",
            where=str(file),
            remedy="name a model.keras of workspace/runs, next to its trained.json",
        )
    return model


def _fitted(path: Path, model: TrainedModel) -> np.ndarray | str:
    """Return the image as the model takes it, u8 [h, w, 3], or the problem with it."""
    try:
        return decode_file(path, model.input_size, model.crop)
    except DecodingError as error:
        return str(error)


def _ranking(path: Path, shares: np.ndarray, model: TrainedModel) -> Prediction:
    order = np.argsort(-shares, kind="stable")
    candidates = tuple(ClassProbability(model.labels[index], float(shares[index])) for index in order)
    labels = tuple(candidate.label for candidate in candidates if candidate.probability > 1 / 2)
    return Prediction(
        str(path), candidates, labels=labels if is_multi_label(model) else None, unknown=_is_unknown(shares, model)
    )


def _is_unknown(shares: np.ndarray, model: TrainedModel) -> bool | None:
    rule = model.rejection
    if rule is None:
        return None
    return rule.threshold >= 1 or bool(rejection.scores(shares[None], rule.score, rule.temperature)[0] < rule.threshold)


def _logits(file: Path, pixels: np.ndarray) -> np.ndarray:
    return batched_predict(networks.logits_part(run_dir.load_file(file)))(pixels, _BATCH)
