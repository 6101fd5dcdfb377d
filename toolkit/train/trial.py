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
from toolkit.experiment.schema import Experiment, Stage, StageTable, Trial
from toolkit.progress import Progress
from toolkit.train import run_dir, sanity_checks
from toolkit.train.features import frozen_features
from toolkit.train.loop import Examples, Learner, answering, fit
from toolkit.train.metrics import dispatch
from toolkit.train.trial_context import (
    Job,
    PartOfSplit,
    Told,
    load_parts,
    prepare_job,
    starting_model,
    told_nobody,
)
from toolkit.workspace import Workspace

if TYPE_CHECKING:
    import keras

_Course = tuple[tuple[Epoch, ...], Evaluation]


class Keeper(Protocol):
    """Where finished models go: the store, or the pipe to whoever has it."""

    def put(self, artifact: TrainedModel) -> None:
        """Keep it; a second time changes nothing."""


def train_trial(
    experiment: Experiment,
    trial: Trial,
    split: Split,
    workspace: Workspace,
    store: Keeper,
    progress: Progress,
    *,
    last: Stage | None = None,
    told: Told = told_nobody,
) -> tuple[TrainedModel, ...]:
    """The trial's model after each stage, up to `last`; what is finished is loaded, what was stopped goes on.

    Raises:
        ConfigurationError: an unknown network, a head that does not fit the data, weights that do not fit the network.
        MachineError: weights that are not here and cannot be fetched.
        DataError: a part without images, or a loss that is no longer a number.
    """
    job = prepare_job(experiment, trial, split, workspace, progress, told)
    names = [stage.name for stage in trial.stages]
    models: list[TrainedModel] = []
    parts: dict[str, PartOfSplit] = {}
    for stage in trial.stages[: names.index(last) + 1 if last else None]:
        model = run_dir.finished(job.folder(stage.name))
        if model is not None:
            progress.log(f"{trial.name} {stage.name}: trained already, skipped ({_summary(model.evaluation)})")
        else:
            parts = parts or load_parts(job)
            model = _train_stage(job, stage, parts, models[-1] if models else None)
        store.put(model)
        models.append(model)
    return tuple(models)


def _train_stage(
    job: Job, stage: StageTable, parts: dict[str, PartOfSplit], before: TrainedModel | None
) -> TrainedModel:
    """Train, judge, keep, tell."""
    start = time.monotonic()
    run_dir.tidy(job.folder(stage.name))
    model = starting_model(job, before)
    history, evaluation = (_train_top if stage.name == "top" else _fine_tune)(job, stage, model, parts)
    trained = _describe(job, stage, model, history, evaluation, time.monotonic() - start)
    run_dir.keep(trained, model, job.folder(stage.name))
    job.progress.log(f"{job.trial.name} {stage.name}: {_summary(evaluation)}; {trained.seconds:.0f} s")
    for warning in trained.warnings:
        job.progress.log(f"warning: {job.trial.name} {stage.name}: {warning}")
    return trained


def _train_top(job: Job, stage: StageTable, model: keras.Model, parts: dict[str, PartOfSplit]) -> _Course:
    """The head alone: on the frozen backbone's features, or through the backbone where images are varied."""
    top = networks.head_part(model)
    if job.trial.augment:
        return _train_top_on_images(job, stage, model, parts)
    made = frozen_features(job, model, parts)
    learner = _learner(job, top, lambda x: top(x, training=True), top.trainable_variables)
    history = fit(learner, made["train"], made["validation"], job.plan(stage), job.progress)
    return history, _judge(job, learner, made["test"])


def _train_top_on_images(job: Job, stage: StageTable, model: keras.Model, parts: dict[str, PartOfSplit]) -> _Course:
    """A varied image is another one in every epoch, so no features of it can be kept: the backbone runs each time."""
    job.progress.log(f"  {job.trial.name} top: [augment] is on, so the backbone runs in every epoch")
    backbone, top = networks.features_part(model), networks.head_part(model)

    def forward(x: Any) -> Any:
        return top(backbone(x, training=False), training=True)

    learner = _learner(job, networks.logits_part(model), forward, top.trainable_variables)
    history = fit(learner, _varied(job, stage, parts), parts["validation"].examples, job.plan(stage), job.progress)
    return history, _judge(job, learner, parts["test"].examples)


def _varied(job: Job, stage: StageTable, parts: dict[str, PartOfSplit]) -> Examples:
    """The training images, varied if the trial says so; in each stage by another seed."""
    examples, table = parts["train"].examples, job.trial.augment
    if table is None:
        return examples
    seed = 2 * job.trial.seed + (stage.name == "fine-tune")
    return replace(examples, vary=lambda images, at, epoch: augment(images, at, table, seed=seed, epoch=epoch))


def _fine_tune(job: Job, stage: StageTable, model: keras.Model, parts: dict[str, PartOfSplit]) -> _Course:
    """The whole network, or from a layer on.

    Its batch-norms keep the statistics of its first weights, if it had any, unless the stage says otherwise; those of
    layers that are left alone always do.
    """
    top = networks.head_part(model)
    normalizing = stage.batch_norm == "training" if stage.batch_norm else job.trial.weights == "none"

    features = networks.features_trained(model, job.network, normalizing=normalizing, precision=job.trial.precision)

    def forward(x: Any) -> Any:
        return top(features(x), training=True)

    variables = networks.fine_tuned_variables(model, job.network, stage.from_layer)
    left_alone, _ = networks.split_model(
        model.get_layer(job.network.name), stage.from_layer or job.network.unfreezes_from
    )
    learner = _learner(job, networks.logits_part(model), forward, variables)
    with _frozen(left_alone):
        history = fit(learner, _varied(job, stage, parts), parts["validation"].examples, job.plan(stage), job.progress)
    return history, _judge(job, learner, parts["test"].examples)


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


def _learner(job: Job, model: keras.Model, forward: Callable[[Any], Any], variables: list[Any]) -> Learner:
    return Learner(model, forward, variables, job.head, job.class_weights, answering(model))


def _judge(job: Job, learner: Learner, test: Examples) -> Evaluation:
    logits = learner.answer(test.inputs, job.trial.batch_size)
    return dispatch.evaluate(logits, test.labels, job.split.labels, "test", job.head.loss_name)


def _describe(
    job: Job,
    stage: StageTable,
    model: keras.Model,
    history: tuple[Epoch, ...],
    evaluation: Evaluation,
    seconds: float,
) -> TrainedModel:
    """All there is to say of a model just trained."""
    return TrainedModel(
        digest=run_dir.model_digest(model),
        parent=job.split.digest,
        run=job.run,
        experiment=job.experiment.name,
        network=job.trial.network,
        head=job.trial.head,
        stage=stage.name,
        weights=job.weights if isinstance(job.weights, str) else job.weights.name,
        note=job.split.note,
        labels=job.split.labels,
        input_size=job.size,
        crop=job.trial.crop,
        scaling=job.network.scaling.words,
        path=job.workspace.relative(run_dir.model_file(job.folder(stage.name))),
        parameters=model.count_params(),
        history=history,
        evaluation=evaluation,
        seconds=seconds,
        loss=job.head.loss_name,
        warnings=sanity_checks.warnings_for(evaluation, weights=job.trial.weights, stage=stage.name, history=history),
        versions=run_dir.versions(),
        profile=os.environ.get(NAME_VARIABLE, ""),
    )


def _summary(evaluation: Evaluation) -> str:
    low, high = evaluation.interval
    return f"test accuracy {evaluation.accuracy:.4f} (95 % {low:.3f} to {high:.3f}), loss {evaluation.loss:.4f}"
