"""One cell of the matrix, trained: the top layers on frozen features, then the whole network from there."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from toolkit import networks
from toolkit.artifacts.dataset import Split
from toolkit.artifacts.model import Epoch, Evaluation, TrainedModel
from toolkit.data.augment import augment
from toolkit.experiment.compute_profiles import NAME_VARIABLE
from toolkit.experiment.schema import Experiment, Stage, StageConfig, Trial
from toolkit.progress import Progress
from toolkit.train import run_dir, sanity_checks
from toolkit.train.features import frozen_features
from toolkit.train.loop import Examples, TrainState, batched_predict, fit
from toolkit.train.metrics import dispatch
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

_Course = tuple[tuple[Epoch, ...], Evaluation]


class StageStore(Protocol):
    """Where finished models go: the store, or the pipe to whoever has it."""

    def put(self, artifact: TrainedModel) -> None:
        """Keep it; a second time changes nothing."""


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
) -> tuple[TrainedModel, ...]:
    """The trial's model after each stage, up to `last`; what is finished is loaded, what was stopped goes on.

    Raises:
        ConfigurationError: an unknown network, a head that does not fit the data, weights that do not fit the network.
        MachineError: weights that are not here and cannot be fetched.
        DataError: a part without images, or a loss that is no longer a number.
    """
    context = prepare_trial(experiment, trial, split, workspace, progress, on_epoch_end)
    names = [stage.name for stage in trial.stages]
    models: list[TrainedModel] = []
    subsets: dict[str, SubsetArrays] = {}
    for stage in trial.stages[: names.index(last) + 1 if last else None]:
        model = run_dir.load_stage(context.folder(stage.name))
        if model is not None:
            progress.log(f"{trial.name} {stage.name}: trained already, skipped ({_summary(model.evaluation)})")
        else:
            subsets = subsets or load_subsets(context)
            model = _train_stage(context, stage, subsets, models[-1] if models else None)
        store.put(model)
        models.append(model)
    return tuple(models)


def _train_stage(
    context: TrialContext, stage: StageConfig, subsets: dict[str, SubsetArrays], before: TrainedModel | None
) -> TrainedModel:
    """Train, judge, keep, tell."""
    start = time.monotonic()
    run_dir.remove_partial_files(context.folder(stage.name))
    model = starting_model(context, before)
    history, evaluation = (_train_top if stage.name == "top" else _fine_tune)(context, stage, model, subsets)
    trained = _describe(context, stage, model, history, evaluation, time.monotonic() - start)
    run_dir.save_stage(trained, model, context.folder(stage.name))
    context.progress.log(f"{context.trial.name} {stage.name}: {_summary(evaluation)}; {trained.seconds:.0f} s")
    for warning in trained.warnings:
        context.progress.log(f"warning: {context.trial.name} {stage.name}: {warning}")
    return trained


def _train_top(
    context: TrialContext, stage: StageConfig, model: keras.Model, subsets: dict[str, SubsetArrays]
) -> _Course:
    """The head alone: on the frozen backbone's features, or through the backbone where images are varied."""
    top = networks.head_part(model)
    if context.trial.augment:
        return _train_top_on_images(context, stage, model, subsets)
    made = frozen_features(context, model, subsets)
    state = _train_state(context, top, lambda x: top(x, training=True), top.trainable_variables)
    history = fit(state, made["train"], made["validation"], context.fit_config(stage), context.progress)
    return history, _judge(context, state, made["test"])


def _train_top_on_images(
    context: TrialContext, stage: StageConfig, model: keras.Model, subsets: dict[str, SubsetArrays]
) -> _Course:
    """A varied image is another one in every epoch, so no features of it can be kept: the backbone runs each time."""
    context.progress.log(f"  {context.trial.name} top: [augment] is on, so the backbone runs in every epoch")
    backbone, top = networks.features_part(model), networks.head_part(model)

    def forward(x: Any) -> Any:
        return top(backbone(x, training=False), training=True)

    state = _train_state(context, networks.logits_part(model), forward, top.trainable_variables)
    history = fit(
        state,
        _varied(context, stage, subsets),
        subsets["validation"].examples,
        context.fit_config(stage),
        context.progress,
    )
    return history, _judge(context, state, subsets["test"].examples)


def _varied(context: TrialContext, stage: StageConfig, subsets: dict[str, SubsetArrays]) -> Examples:
    """The training images, varied if the trial says so; in each stage by another seed."""
    examples, table = subsets["train"].examples, context.trial.augment
    if table is None:
        return examples
    seed = 2 * context.trial.seed + (stage.name == "fine-tune")
    return replace(examples, augment=lambda images, at, epoch: augment(images, at, table, seed=seed, epoch=epoch))


def _fine_tune(
    context: TrialContext, stage: StageConfig, model: keras.Model, subsets: dict[str, SubsetArrays]
) -> _Course:
    """The whole network, or from a layer on.

    Its batch-norms keep the statistics of its first weights, if it had any, unless the stage says otherwise; those of
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
    left_alone, _ = networks.split_model(
        model.get_layer(context.network.name), stage.from_layer or context.network.unfreezes_from
    )
    state = _train_state(context, networks.logits_part(model), forward, variables)
    with _frozen(left_alone):
        history = fit(
            state,
            _varied(context, stage, subsets),
            subsets["validation"].examples,
            context.fit_config(stage),
            context.progress,
        )
    return history, _judge(context, state, subsets["test"].examples)


@contextmanager
def _frozen(layers: Sequence[Any]) -> Iterator[None]:
    """A batch-norm that is not trainable works in inference mode, whatever its model does."""
    before = [layer.trainable for layer in layers]
    for layer in layers:
        layer.trainable = False
    try:
        yield
    finally:
        for layer, trainable in zip(layers, before, strict=True):
            layer.trainable = trainable


def _train_state(
    context: TrialContext, model: keras.Model, forward: Callable[[Any], Any], variables: list[Any]
) -> TrainState:
    return TrainState(model, forward, variables, context.head, context.class_weights, batched_predict(model))


def _judge(context: TrialContext, state: TrainState, test: Examples) -> Evaluation:
    logits = state.predict(test.inputs, context.trial.batch_size)
    return dispatch.evaluate(logits, test.labels, context.split.labels, "test", context.head.loss_name)


def _describe(
    context: TrialContext,
    stage: StageConfig,
    model: keras.Model,
    history: tuple[Epoch, ...],
    evaluation: Evaluation,
    seconds: float,
) -> TrainedModel:
    """All there is to say of a model just trained."""
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
        scaling=context.network.scaling.words,
        path=context.workspace.relative(run_dir.model_file(context.folder(stage.name))),
        parameters=model.count_params(),
        history=history,
        evaluation=evaluation,
        seconds=seconds,
        loss=context.head.loss_name,
        warnings=sanity_checks.warnings_for(
            evaluation, weights=context.trial.weights, stage=stage.name, history=history
        ),
        versions=run_dir.versions(),
        profile=os.environ.get(NAME_VARIABLE, ""),
    )


def _summary(evaluation: Evaluation) -> str:
    low, high = evaluation.interval
    return f"test accuracy {evaluation.accuracy:.4f} (95 % {low:.3f} to {high:.3f}), loss {evaluation.loss:.4f}"
