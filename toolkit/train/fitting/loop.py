"""The epoch loop: one for the head on cached features and for the whole network on images."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from toolkit.artifacts.model import Epoch
from toolkit.data.parallel import prefetch
from toolkit.experiment.training_schema import StageConfig
from toolkit.networks import Head, start_tensorflow, tf_compat
from toolkit.progress import Progress, Task
from toolkit.system.cpu_quota import available_cpus
from toolkit.train import sanity_checks
from toolkit.train.fitting import checkpoint
from toolkit.train.fitting.optimizer import StageOptimizer
from toolkit.train.fitting.replicas import ALONE, Replicas
from toolkit.train.metrics import dispatch

if TYPE_CHECKING:
    import keras

BatchedPredict = Callable[[np.ndarray, int], np.ndarray]
_STAGE_SEEDS = {"top": 0, "fine-tune": 1}
_MOST_AHEAD = 4
"""Batches that are made at once; each may hold tens of megabytes."""


@dataclass(frozen=True, slots=True)
class Examples:
    """Inputs [n, …] (features f32 or images u8) and their labels [n], or [n, classes] where they may have many."""

    inputs: np.ndarray
    labels: np.ndarray
    augment: Callable[[np.ndarray, np.ndarray, int], np.ndarray] | None = None
    """What training sees of inputs at indices in an epoch; none: the inputs themselves."""

    def followed_by(self, others: Examples | None) -> Examples:
        """These examples and then `others`, if there are any; inputs are taken as they are."""
        if others is None:
            return self
        return Examples(np.concatenate([self.inputs, others.inputs]), np.concatenate([self.labels, others.labels]))

    def batches(self, order: Iterable[np.ndarray], epoch: int) -> Generator[tuple[np.ndarray, np.ndarray], None, None]:
        """Indices and what training sees of them, f32, for each batch of an epoch; made while it trains on others.

        What a batch holds follows from its indices and the epoch alone, so threads and timing change nothing in it.
        """

        def batch(indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            inputs = self.inputs[indices]
            return indices, (self.augment(inputs, indices, epoch) if self.augment else inputs).astype(np.float32)

        threads = min(available_cpus(), _MOST_AHEAD)
        return prefetch(batch, order, threads, threads + 1)


@dataclass(frozen=True, slots=True)
class TrainState:
    """What is trained: `model` gives logits as they will be used, `forward` as training sees them."""

    model: keras.Model
    forward: Callable[[Any], Any]
    variables: list[Any]
    """Those that the optimizer changes."""
    head: Head
    class_weights: np.ndarray
    """How much a training image counts by its label, float32 [classes]."""
    predict: BatchedPredict
    """`model` over whole arrays."""
    head_variables: tuple[Any, ...] = ()
    """Those that learn at the stage's `head_rate`."""


@dataclass(frozen=True, slots=True)
class FitConfig:
    """How it is trained."""

    title: str
    stage: StageConfig
    batch_size: int
    seed: int
    checkpoint: Path
    on_epoch_end: Callable[[Epoch], None]
    """Hears of every epoch once the checkpoint holds it."""
    mixup: float = 0.0
    """The alpha of mixup; 0: none."""
    replicas: Replicas = ALONE
    """The processes that train it together."""

    @property
    def epochs(self) -> int:
        """How many at most."""
        return self.stage.epochs or 1

    def learning_rate(self, epochs: Sequence[Epoch], step: int, steps_per_epoch: int) -> float:
        """The learning rate of a step, counted from 0 over the stage, that follows these epochs."""
        rate = self.stage.learning_rate or 1e-3
        if self.stage.schedule is None:
            return rate
        losses = [epoch.val_loss for epoch in epochs]
        share = self.stage.schedule.share(losses, self.epochs)
        return rate * share * self.stage.schedule.share_at(step, steps_per_epoch)

    def with_lr_schedule(
        self, step: Callable[..., Any], optimizer: StageOptimizer, epochs: Sequence[Epoch], steps_per_epoch: int
    ) -> Callable[..., Any]:
        """`step`, each at its own learning rate where the schedule changes it within an epoch."""
        if self.stage.schedule is None or not self.stage.schedule.by_step:
            return step
        numbers, before = itertools.count(len(epochs) * steps_per_epoch), tuple(epochs)

        def scheduled(*batch: Any) -> Any:
            optimizer.set_rate(self.learning_rate(before, next(numbers), steps_per_epoch))
            return step(*batch)

        return scheduled


def fit(
    state: TrainState, train: Examples, validation: Examples, config: FitConfig, progress: Progress
) -> tuple[Epoch, ...]:
    """Train `state`, from its last finished epoch if it was stopped.

    With patience set, it is left with the weights of the best epoch, else with those of the last one; with their moving
    average, if the stage has one. After every epoch the checkpoint holds all that going on takes, so a stop at any time
    loses the running epoch at most, and the end is the same to the bit.

    Raises:
        DataError: the loss is no longer a number.
    """
    optimizer = StageOptimizer(config.stage, state.variables, state.head_variables)
    variables = tf_compat.state(state.model)
    history = checkpoint.restore(config.checkpoint, variables, optimizer.variables)
    config.replicas.separate_randomness(variables)
    if history.epochs:
        progress.log(f"  {config.title}: resuming after epoch {len(history.epochs)} of {config.epochs}")
    step = training_step(state, optimizer, config.replicas)
    steps_per_epoch = math.ceil(len(train.labels) / config.batch_size)
    with progress.track(f"{config.title}, images", (config.epochs - len(history.epochs)) * len(train.labels)) as task:
        while not history.enough(config.epochs, config.stage.patience):
            done = history.epochs
            rate = config.learning_rate(done, len(done) * steps_per_epoch, steps_per_epoch)
            optimizer.set_rate(rate)
            scheduled = config.with_lr_schedule(step, optimizer, done, steps_per_epoch)
            figures = _train_epoch(state, scheduled, train, config, len(done) + 1, task)
            with optimizer.averaged():
                epoch = _judge_epoch(state, validation, config, figures, len(done) + 1, rate)
                done.append(epoch)
                if config.stage.patience is None or epoch.val_loss < history.best_loss:
                    history.best_loss, history.best_epoch = epoch.val_loss, epoch.number
                    history.best = [np.array(tf_compat.array(variable)) for variable in variables]
            if config.replicas.is_first:
                checkpoint.save(config.checkpoint, history, variables, optimizer.variables, averaged=optimizer.averages)
            config.on_epoch_end(epoch)
            progress.log(_line(config, epoch, len(train.labels)))
    for variable, value in zip(variables, history.best, strict=True):
        variable.assign(value)
    return tuple(history.epochs)


def batched_predict(model: keras.Model) -> BatchedPredict:
    """A function that runs `model` over inputs [n, …] in batches of a given size; traced when it is first called."""
    tf = start_tensorflow()

    @tf.function(input_signature=[tf.TensorSpec(model.input_shape)])  # type: ignore[untyped-decorator]  # tensorflow ships no types
    def predict(batch: Any) -> Any:
        return model(batch, training=False)

    def run(inputs: np.ndarray, batch_size: int) -> np.ndarray:
        def batch(start: int) -> np.ndarray:
            return inputs[start : start + batch_size].astype(np.float32)

        with closing(prefetch(batch, range(0, len(inputs), batch_size), 1, 2)) as coming:
            return np.concatenate([predict(each).numpy() for each in coming])

    return run


def shuffled(count: int, batch_size: int, *, seed: int, stage: str, epoch: int) -> Iterator[np.ndarray]:
    """The indices of each batch of an epoch, in an order that seed, stage and epoch decide."""
    order = np.random.default_rng([seed, _STAGE_SEEDS[stage], epoch]).permutation(count)
    yield from (order[start : start + batch_size] for start in range(0, count, batch_size))


def mixed(
    inputs: np.ndarray, targets: np.ndarray, weights: np.ndarray, *, alpha: float, seed: Sequence[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A batch mixed with itself in another order (Zhang et al., mixup, ICLR 2018); itself with an alpha of 0."""
    if not alpha:
        return inputs, targets, weights
    rng = np.random.default_rng(seed)
    share, order = np.float32(rng.beta(alpha, alpha)), rng.permutation(len(inputs))
    first, second, third = (share * part + (1 - share) * part[order] for part in (inputs, targets, weights))
    return first, second, third


def training_step(state: TrainState, optimizer: StageOptimizer, replicas: Replicas = ALONE) -> Callable[..., Any]:
    """One batch: logits by `forward`, weighted mean loss, gradients, update; gives that loss and the logits.

    With several replicas, inputs and logits are of this one's share, and its weights count its part in the batch.
    """
    tf = start_tensorflow()
    losses_of = state.head.losses()
    sparse = state.head.loss_name == "sparse-categorical"
    targets_spec = tf.TensorSpec([None], tf.int64) if sparse else tf.TensorSpec(state.model.output_shape)
    weights_spec = tf.TensorSpec(state.model.output_shape if state.head.multi_label else [None])
    signature = [tf.TensorSpec(state.model.input_shape), targets_spec, weights_spec]

    @tf.function(input_signature=signature)  # type: ignore[untyped-decorator]  # tensorflow ships no types
    def step(inputs: Any, targets: Any, weights: Any) -> Any:
        def gradients_of_share() -> Any:
            with tf.GradientTape() as tape:
                logits = state.forward(inputs)
                loss = tf.reduce_mean(losses_of(targets, logits) * weights)
            gradients = tape.gradient(loss, tf_compat.tensors(state.variables))
            return replicas.add([loss, *gradients]), logits

        (loss, *gradients), logits = replicas.run(gradients_of_share)
        optimizer.apply(gradients)
        return loss, logits

    return step  # type: ignore[no-any-return]  # tensorflow ships no types


@dataclass(frozen=True, slots=True)
class _Figures:
    """Of an epoch's training steps, with the weights as they moved."""

    started: float
    loss: float
    accuracy: float


def _train_epoch(
    state: TrainState, step: Callable[..., Any], train: Examples, config: FitConfig, number: int, task: Task
) -> _Figures:
    """Every training image once."""
    start, seen, loss_sum, own, correct = time.monotonic(), 0, 0.0, 0, 0
    replicas = config.replicas
    targets = state.head.targets(train.labels, len(state.class_weights))
    weights = state.head.weights(train.labels, state.class_weights)
    order = shuffled(len(targets), config.batch_size, seed=config.seed, stage=config.stage.name, epoch=number)
    with closing(train.batches(map(replicas.share, order), number)) as coming:
        for place, (batch, inputs) in enumerate(coming):
            seed = [config.seed, _STAGE_SEEDS[config.stage.name], number, place]
            size = min(config.batch_size, len(targets) - seen)
            counted = weights[batch] * replicas.weight(size)
            loss, logits = step(*mixed(inputs, targets[batch], counted, alpha=config.mixup, seed=seed))
            seen += size
            loss_sum += float(loss) * size
            if replicas.weight(size):
                own += len(batch)
                correct += int(dispatch.is_correct(logits.numpy(), train.labels[batch]).sum())
            note = _note(config, number, seen, loss_sum, correct / max(own, 1), len(targets), time.monotonic() - start)
            task.advance(size, note)
    sanity_checks.raise_on_nan(loss_sum, "loss", number, config.title)
    return _Figures(start, loss_sum / seen, replicas.total(correct) / seen)


def _judge_epoch(
    state: TrainState, validation: Examples, config: FitConfig, figures: _Figures, number: int, rate: float
) -> Epoch:
    """The validation images, with the weights as they are now."""
    logits = config.replicas.predict(state.predict, validation.inputs, config.batch_size)
    val_loss = dispatch.cross_entropy(logits, validation.labels, state.head.loss_name)
    sanity_checks.raise_on_nan(val_loss, "validation loss", number, config.title)
    return Epoch(
        stage=config.stage.name,
        number=number,
        loss=figures.loss,
        accuracy=figures.accuracy,
        val_loss=val_loss,
        val_accuracy=float(np.mean(dispatch.is_correct(logits, validation.labels))),
        seconds=time.monotonic() - figures.started,
        learning_rate=rate,
    )


def _note(
    config: FitConfig, number: int, seen: int, loss_sum: float, accuracy: float, total: int, seconds: float
) -> str:
    """What stands beside the bar: epoch, speed, loss, accuracy and the time left in the stage."""
    left = ((config.epochs - number + 1) * total - seen) * seconds / seen
    return (
        f"epoch {number}/{config.epochs}, {seen / seconds:.0f} images/s, loss {loss_sum / seen:.3f}, "
        f"accuracy {accuracy:.3f}, {left:.0f} s left"
    )


def _line(config: FitConfig, epoch: Epoch, total: int) -> str:
    """An epoch that is over, for people."""
    left = (config.epochs - epoch.number) * epoch.seconds
    return (
        f"  {config.title}: epoch {epoch.number}/{config.epochs}, {total / epoch.seconds:.0f} images/s, "
        f"loss {epoch.loss:.4f}, accuracy {epoch.accuracy:.4f}, validation loss {epoch.val_loss:.4f}, "
        f"accuracy {epoch.val_accuracy:.4f}, at most {left:.0f} s left"
    )
