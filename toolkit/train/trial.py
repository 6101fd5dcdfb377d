"""Train one trial: the top layers on frozen features, then the whole network."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from toolkit import networks
from toolkit.artifacts.dataset import Split
from toolkit.artifacts.model import Epoch, Evaluation, SampleEfficiency, TrainedModel, ValidationResult
from toolkit.data.augmentation.augment import augment
from toolkit.errors import MachineError
from toolkit.experiment.compute_profiles import NAME_VARIABLE
from toolkit.experiment.schema import Experiment
from toolkit.experiment.training_schema import Stage, StageConfig, Trial
from toolkit.progress import Progress
from toolkit.train import run_dir, sanity_checks
from toolkit.train.features import AUGMENTED, frozen_features
from toolkit.train.fitting import calibration
from toolkit.train.fitting.head_solver import solve_head
from toolkit.train.fitting.loop import Examples, TrainState, batched_predict, fit
from toolkit.train.fitting.rejection_figures import left_out_result, rejection_of
from toolkit.train.fitting.rejection_rule import warning_for
from toolkit.train.fitting.replicas import ALONE, Replicas
from toolkit.train.fitting.sample_efficiency import sample_efficiency
from toolkit.train.metrics import dispatch
from toolkit.train.stage_gate import withhold_reason
from toolkit.train.trial_context import (
    EpochCallback,
    SubsetArrays,
    TrialContext,
    load_subsets,
    noop,
    prepare_trial,
    starting_model,
)
from toolkit.workspace import Workspace

if TYPE_CHECKING:
    import keras

_VISIBLE_S = 120.0
"""How long another node's file may take to appear in a shared folder."""


@dataclass(frozen=True, slots=True)
class _Outcome:
    """The result of a stage: its epochs, and its logits on the evaluation images, which only the first replica computes."""

    history: tuple[Epoch, ...]
    validation_logits: np.ndarray
    test_logits: np.ndarray
    sample_efficiency: SampleEfficiency | None = None


class StageStore(Protocol):
    """Destination of finished models: the store, or the pipe to the process that owns it."""

    def put(self, artifact: TrainedModel) -> None:
        """Save the stage; saving it again changes nothing."""


def train_trial(
    experiment: Experiment,
    trial: Trial,
    split: Split,
    workspace: Workspace,
    store: StageStore,
    progress: Progress,
    *,
    last: Stage | None = None,
    on_epoch_end: EpochCallback = noop,
    replicas: Replicas = ALONE,
) -> tuple[TrainedModel, ...]:
    """The trial's model after each stage, up to `last`; finished stages are loaded, interrupted ones are resumed.

    All `replicas` must call it; stages on images are trained by all of them, the others by the first.

    Raises:
        ConfigurationError: an unknown network, a head that does not fit the data, weights that do not fit the network.
        MachineError: weights that are not here and cannot be fetched.
        DataError: a part without images, or a loss that is no longer a number.
    """
    context = prepare_trial(experiment, trial, split, workspace, progress, on_epoch_end)
    context = replace(context, replicas=replicas)
    trial = context.trial
    names = [stage.name for stage in trial.stages]
    models: list[TrainedModel] = []
    subsets: dict[str, SubsetArrays] = {}
    for stage in trial.stages[: names.index(last) + 1 if last in names else None]:
        model = run_dir.load_stage(context.folder(stage.name))
        if replicas.of_first(model is not None):
            model = model or _model_of_first(context, stage)
            progress.log(f"{trial.name} {stage.name}: trained already, skipped ({_summary(model.evaluation)})")
        else:
            subsets = subsets or load_subsets(context)
            model = _train_with_replicas(context, stage, subsets, models[-1] if models else None)
        store.put(model)
        models.append(model)
    return tuple(models)


def _train_with_replicas(
    context: TrialContext, stage: StageConfig, subsets: dict[str, SubsetArrays], before: TrainedModel | None
) -> TrainedModel:
    """Train the stage; replicas other than the first take its model from the workspace."""
    if context.replicas.is_first:
        trained = _train_stage(context, stage, subsets, before)
        context.replicas.wait()
        return trained
    if stage.name == "fine-tune" or context.trial.augmentation(stage.name):
        _TRAINERS[stage.name](context, stage, starting_model(context, before), subsets)
    context.replicas.wait()
    return _model_of_first(context, stage)


def _model_of_first(context: TrialContext, stage: StageConfig) -> TrainedModel:
    """Return the model that the first replica has written, once this one sees it.

    Raises:
        MachineError: it does not become visible.
    """
    deadline = time.monotonic() + _VISIBLE_S
    while (model := run_dir.load_stage(context.folder(stage.name))) is None:
        if time.monotonic() > deadline:
            raise MachineError(
                "the model that the first replica has written is not visible here",
                where=str(context.folder(stage.name)),
                remedy="check that this is the same folder on every node, and run the same command again",
            )
        time.sleep(0.5)
    return model


def _train_stage(
    context: TrialContext, stage: StageConfig, subsets: dict[str, SubsetArrays], before: TrainedModel | None
) -> TrainedModel:
    """Train, judge, save, report."""
    start = time.monotonic()
    run_dir.remove_partial_files(context.folder(stage.name))
    model = starting_model(context, before)
    outcome = _TRAINERS[stage.name](context, stage, model, subsets)
    trained = _describe(context, stage, model, outcome, subsets, before, time.monotonic() - start)
    run_dir.save_stage(trained, model, context.folder(stage.name))
    context.progress.log(f"{context.trial.name} {stage.name}: {_summary(trained.evaluation)}; {trained.seconds:.0f} s")
    for warning in trained.warnings:
        context.progress.log(f"warning: {context.trial.name} {stage.name}: {warning}")
    return trained


def _train_top(
    context: TrialContext, stage: StageConfig, model: keras.Model, subsets: dict[str, SubsetArrays]
) -> _Outcome:
    """Train the head alone: on cached features, or through the backbone if images are augmented."""
    top = networks.head_part(model)
    if context.trial.augmentation("top"):
        return _train_top_on_images(context, stage, model, subsets)
    features = frozen_features(context, model, subsets, copies=stage.augmented_copies or 0)
    state = _train_state(context, top, lambda x: top(x, training=True), top.trainable_variables)
    if stage.optimizer == "lbfgs":
        history: tuple[Epoch, ...] = (
            solve_head(state, model, features["train"], features["validation"], features.get(AUGMENTED)),
        )
    else:
        train = features["train"].followed_by(features.get(AUGMENTED))
        history = fit(state, train, features["validation"], context.fit_config(stage), context.progress)
    outcome = _outcome(context, state, history, features["validation"], features["test"])
    if context.head.multi_label:
        return outcome
    return replace(outcome, sample_efficiency=sample_efficiency(features["train"], features["test"]))


def _train_top_on_images(
    context: TrialContext, stage: StageConfig, model: keras.Model, subsets: dict[str, SubsetArrays]
) -> _Outcome:
    """Train the head on augmented images, whose features cannot be cached because they differ in every epoch."""
    context.progress.log(f"  {context.trial.name} top: [augment] is on, so the backbone runs in every epoch")
    backbone, top = networks.features_part(model), networks.head_part(model)

    def forward(x: Any) -> Any:
        return top(backbone(x, training=False), training=True)

    state = _train_state(context, networks.logits_part(model), forward, top.trainable_variables)
    return _fit_on_images(context, stage, state, subsets)


def _fit_on_images(
    context: TrialContext, stage: StageConfig, state: TrainState, subsets: dict[str, SubsetArrays]
) -> _Outcome:
    validation, test = subsets["validation"].examples, subsets["test"].examples
    train = _augmented(context, stage, subsets)
    config = replace(context.fit_config(stage), replicas=context.replicas)
    history = fit(state, train, validation, config, context.progress)
    if not context.replicas.is_first:
        return _Outcome(history, np.empty(0), np.empty(0))
    return _outcome(context, state, history, validation, test)


def _outcome(
    context: TrialContext, state: TrainState, history: tuple[Epoch, ...], validation: Examples, test: Examples
) -> _Outcome:
    size = context.trial.batch_size
    return _Outcome(history, state.predict(validation.inputs, size), state.predict(test.inputs, size))


def _augmented(context: TrialContext, stage: StageConfig, subsets: dict[str, SubsetArrays]) -> Examples:
    """Return the training images, augmented if the trial requires it, with another seed in each stage."""
    examples, table = subsets["train"].examples, context.trial.augmentation(stage.name)
    if table is None:
        return examples
    seed = 2 * context.trial.seed + (stage.name == "fine-tune")
    return replace(examples, augment=lambda images, at, epoch: augment(images, at, table, seed=seed, epoch=epoch))


def _fine_tune(
    context: TrialContext, stage: StageConfig, model: keras.Model, subsets: dict[str, SubsetArrays]
) -> _Outcome:
    """The whole network, or from a layer on.

    Its batch-norms keep the statistics of its initial weights, if it had any, unless the stage says otherwise; those of
    layers that are left alone always do.
    """
    top = networks.head_part(model)
    normalizing = stage.batch_norm == "training" if stage.batch_norm else context.trial.weights == "none"

    features = networks.features_trained(
        model, context.network, normalizing=normalizing, precision=context.trial.precision
    )

    def forward(x: Any) -> Any:
        return top(features(x), training=True)

    variables = networks.fine_tuned_variables(model, context.network, stage.from_layer)
    body = model.get_layer(context.network.name)
    left_alone, _ = networks.split_model(body, stage.from_layer or context.network.unfreezes_from)
    state = _train_state(context, networks.logits_part(model), forward, variables)
    state = replace(state, head_variables=tuple(top.trainable_variables))
    with _frozen(left_alone), _normalizing_together(body, context.replicas):
        return _fit_on_images(context, stage, state, subsets)


_TRAINERS = {"top": _train_top, "fine-tune": _fine_tune}


@contextmanager
def _frozen(layers: Sequence[Any]) -> Iterator[None]:
    """Freeze layers for a with-block: a batch norm that is not trainable always runs in inference mode."""
    before = [layer.trainable for layer in layers]
    for layer in layers:
        layer.trainable = False
    try:
        yield
    finally:
        for layer, trainable in zip(layers, before, strict=True):
            layer.trainable = trainable


@contextmanager
def _normalizing_together(body: keras.Model, replicas: Replicas) -> Iterator[None]:
    """Let batch norms that are trained see the whole batch, of which each replica has a share."""
    norms = [layer for layer in body.layers if type(layer).__name__ == "BatchNormalization"]
    before = [norm.synchronized for norm in norms]
    for norm in norms:
        norm.synchronized = norm.synchronized or replicas.count > 1
    try:
        yield
    finally:
        for norm, synchronized in zip(norms, before, strict=True):
            norm.synchronized = synchronized


def _train_state(
    context: TrialContext, model: keras.Model, forward: Callable[[Any], Any], variables: list[Any]
) -> TrainState:
    return TrainState(model, forward, variables, context.head, context.class_weights, batched_predict(model))


def _validation_result(context: TrialContext, logits: np.ndarray, labels: np.ndarray) -> ValidationResult:
    loss = context.head.loss_name
    temperature = calibration.fit_temperature(logits, labels, loss)
    return ValidationResult(
        temperature=temperature,
        loss=dispatch.cross_entropy(logits / temperature, labels, loss),
        uncalibrated_loss=dispatch.cross_entropy(logits, labels, loss),
        correct=tuple(dispatch.is_correct(logits, labels).tolist()),
    )


def _describe(
    context: TrialContext,
    stage: StageConfig,
    model: keras.Model,
    outcome: _Outcome,
    subsets: dict[str, SubsetArrays],
    before: TrainedModel | None,
    seconds: float,
) -> TrainedModel:
    """The record of a model just trained."""
    test, held_out = subsets["test"].examples.labels, subsets["validation"].examples.labels
    loss, weights = context.head.loss_name, context.trial.weights
    evaluation = dispatch.evaluate(outcome.test_logits, test, context.split.labels, "test", loss)
    validation = _validation_result(context, outcome.validation_logits, held_out)
    withheld = withhold_reason(before, stage.name, validation) if context.trial.offer == "improved" else ""
    rejection = rejection_of(
        context,
        model,
        (outcome.validation_logits, held_out, validation.temperature),
        (outcome.test_logits, test),
        left_out_result(context, stage.name, model, subsets, before),
    )
    unanswered = warning_for(rejection, len(held_out))
    warnings = sanity_checks.warnings_for(evaluation, weights=weights, stage=stage.name, history=outcome.history)
    return TrainedModel(
        digest=run_dir.model_digest(model),
        parent=context.split.digest,
        run=context.run,
        experiment=context.experiment.name,
        network=context.trial.network,
        head=context.trial.head,
        stage=stage.name,
        weights=context.weights if isinstance(context.weights, str) else context.weights.name,
        note=context.split.note,
        labels=context.split.labels,
        input_size=context.size,
        crop=context.trial.crop,
        scaling=context.network.scaling.text,
        path=context.workspace.relative(run_dir.model_file(context.folder(stage.name))),
        parameters=model.count_params(),
        history=outcome.history,
        evaluation=evaluation,
        seconds=seconds,
        loss=context.head.loss_name,
        warnings=(*warnings, *filter(None, [unanswered, f"not offered: {withheld}" if withheld else ""])),
        versions=run_dir.versions(),
        profile=os.environ.get(NAME_VARIABLE, ""),
        validation=validation,
        withheld=withheld,
        sample_efficiency=outcome.sample_efficiency,
        rejection=rejection,
    )


def _summary(evaluation: Evaluation) -> str:
    low, high = evaluation.interval
    return f"test accuracy {evaluation.accuracy:.4f} (95 % {low:.3f} to {high:.3f}), loss {evaluation.loss:.4f}"
