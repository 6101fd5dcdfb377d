"""Context of a trial, shared by its stages: images, settings, initial models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from toolkit import data, hashing, networks
from toolkit.artifacts.dataset import Split
from toolkit.artifacts.model import Epoch, TrainedModel
from toolkit.errors import ConfigurationError, DataError, Problem
from toolkit.experiment import recipe
from toolkit.experiment.schema import Experiment
from toolkit.experiment.training_schema import StageConfig, Trial
from toolkit.progress import Progress
from toolkit.train import run_dir
from toolkit.train.fitting.loop import Examples, FitConfig
from toolkit.train.fitting.replicas import ALONE, Replicas
from toolkit.workspace import Workspace

if TYPE_CHECKING:
    import keras


EpochCallback = Callable[[str, Epoch], None]
"""Called after every epoch of a run, identified by its digest, once the epoch is saved."""


def noop(run: str, epoch: Epoch) -> None:
    """Ignores epochs."""


@dataclass(frozen=True, slots=True)
class SubsetArrays:
    """The images of one part, u8 [n, h, w, 3], in the manifest's order, and the SHA-256 of each one's file."""

    examples: Examples
    digests: tuple[str, ...]

    @property
    def digest(self) -> str:
        """What names the images in their order."""
        return hashing.sha256_json(list(self.digests))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialContext:
    """One trial on one split, with all references resolved."""

    experiment: Experiment
    trial: Trial
    split: Split
    workspace: Workspace
    progress: Progress
    network: networks.Network
    head: networks.Head
    class_weights: np.ndarray
    """By label, float32 [classes]."""
    size: tuple[int, int]
    weights: str | Path
    """"imagenet", "none" or the path of a file."""
    run: str
    on_epoch_end: EpochCallback
    replicas: Replicas = ALONE
    """The processes that train on images together; everything else is done by the first."""

    def folder(self, stage: str) -> Path:
        """Return the folder of a stage."""
        return run_dir.stage_folder(self.workspace, self.experiment, self.run, self.trial, stage)

    def is_finished(self, last: str | None = None) -> bool:
        """Whether every stage up to `last` is trained."""
        names = [stage.name for stage in self.trial.stages]
        due = names[: names.index(last) + 1] if last in names else names
        place = (self.workspace, self.experiment, self.run, self.trial)
        return all(run_dir.load_stage(run_dir.stage_path(*place, name)) for name in due)

    def fit_config(self, stage: StageConfig) -> FitConfig:
        """Return the settings of a stage."""
        augmentation = self.trial.augmentation(stage.name)
        return FitConfig(
            title=f"{self.trial.name} {stage.name}",
            stage=stage,
            batch_size=self.trial.batch_size,
            seed=self.trial.seed,
            checkpoint=self.folder(stage.name) / "checkpoint.npz",
            on_epoch_end=partial(self.on_epoch_end, self.run),
            mixup=augmentation.mixup if augmentation else 0.0,
        )


def prepare_trial(
    experiment: Experiment,
    trial: Trial,
    split: Split,
    workspace: Workspace,
    progress: Progress,
    on_epoch_end: EpochCallback = noop,
    *,
    check: bool = True,
) -> TrialContext:
    """Resolve all references before training; with `check`, layers that an unfinished trial names too.

    Raises:
        ConfigurationError: an unknown network or layer, a head or weights of classes that do not fit the data.
        DataError: with every part that has no images.
    """
    counts = split.counts.get("train", {})
    trial = recipe.complete(trial, counts, images=split.size("train"), multi_label=split.multi_label)
    network = networks.resolve_network(experiment, trial.network)
    head = networks.find_head(
        trial.head, len(split.labels), trial.loss, trial.label_smoothing or 0.0, multi_label=split.multi_label
    )
    class_weights = class_weight_array(trial.class_weights, split)
    empty = [subset for subset in data.SUBSETS if not split.size(subset)]
    if empty:
        raise DataError.from_problems(
            [Problem("no images in this part", f"{split.name}: {subset}") for subset in empty]
        )
    named = trial.weights in {"imagenet", "none"}
    weights = trial.weights if named else experiment.resolve_path(trial.weights)
    edge = trial.input_size or network.input_size
    context = TrialContext(
        experiment=experiment,
        trial=trial,
        split=split,
        workspace=workspace,
        progress=progress,
        network=network,
        head=head,
        class_weights=class_weights,
        size=(edge, edge),
        weights=weights,
        run=run_dir.run_digest(trial, split, weights),
        on_epoch_end=on_epoch_end,
    )
    if check and not context.is_finished():
        _check_layers(network, trial, context.size, progress)
    return context


def class_weight_array(requested: str | Mapping[str, float], split: Split) -> np.ndarray:
    """Return the weight of a training image by its label, float32 [classes].

    "balanced" is images / (classes x images of the label), so that every label counts alike and the mean is 1. Of
    many labels it is images without the label / images with it, so that both kinds count alike.

    Raises:
        ConfigurationError: a label that the data does not have, or none of one to balance.
    """
    if requested == "none":
        return np.ones(len(split.labels), np.float32)
    if isinstance(requested, str):
        counts = np.array([split.counts["train"].get(label, 0) for label in split.labels], np.float64)
        if not counts.all():
            missing = [label for label, count in zip(split.labels, counts, strict=True) if not count]
            raise ConfigurationError(
                f"there is no training image of {', '.join(missing)} to balance", where="train.class_weights"
            )
        if split.multi_label:
            return np.asarray((split.size("train") - counts) / counts, np.float32)
        return np.asarray(counts.sum() / (len(counts) * counts), np.float32)
    unknown = [label for label in requested if label not in split.labels]
    if unknown:
        raise ConfigurationError(
            f"the data has no label {', '.join(unknown)}",
            where="train.class_weights",
            remedy=f"it has {', '.join(split.labels)}",
        )
    return np.array([requested.get(label, 1.0) for label in split.labels], np.float32)


def load_subsets(context: TrialContext) -> dict[str, SubsetArrays]:
    """The images of every part; the first replica decodes those that are not cached."""
    if not context.replicas.is_first:
        context.replicas.wait()
    listed = data.read_manifest(context.split, context.workspace)
    subsets = {
        subset: _load_part(context, [image for image in listed if image.subset == subset]) for subset in data.SUBSETS
    }
    if context.replicas.is_first:
        context.replicas.wait()
    return subsets


def starting_model(context: TrialContext, before: TrainedModel | None) -> keras.Model:
    """Return the previous stage's model, or a new one. Its names and random weights depend on nothing but the trial."""
    networks.start_tensorflow()
    import keras

    keras.backend.clear_session()
    keras.utils.set_random_seed(context.trial.seed)  # a file does not keep the seeds of its random layers
    if before is not None:
        return run_dir.load_keras(before, context.workspace)
    return networks.assemble(
        context.network,
        context.head,
        size=context.size,
        classes=len(context.split.labels),
        hidden=context.trial.hidden,
        weights=context.weights,
        progress=context.progress,
        dropout=context.trial.dropout,
    )


def _check_layers(network: networks.Network, trial: Trial, size: tuple[int, int], progress: Progress) -> None:
    """Build the body once, to check before training that it has the stage's `from_layer`."""
    named = [stage.from_layer for stage in trial.stages if stage.from_layer]
    if named and min(size) >= network.smallest:
        networks.start_tensorflow()
        import keras

        keras.backend.clear_session()
        body = network.build(size, pretrained=False, progress=progress)
        networks.rename(body, network.name)
        networks.split_model(body, named[0])


def _load_part(context: TrialContext, images: list[data.Image]) -> SubsetArrays:
    pixels = data.load_images(
        images, context.size, context.trial.crop, workspace=context.workspace, progress=context.progress
    )
    labels = data.label_array(images, len(context.split.labels))
    return SubsetArrays(Examples(pixels, labels), tuple(image.sha256 for image in images))
