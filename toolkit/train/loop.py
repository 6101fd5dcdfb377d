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
from toolkit.experiment.schema import StageTable
from toolkit.networks import Head, start_tensorflow, tf_compat
from toolkit.progress import Progress, Task
from toolkit.system.cpu_quota import available_cpus
from toolkit.train import checkpoint, sanity_checks
from toolkit.train.metrics import dispatch

if TYPE_CHECKING:
    import keras

Answer = Callable[[np.ndarray, int], np.ndarray]
_STAGE_SEEDS = {"top": 0, "fine-tune": 1}
_MOST_AHEAD = 4
"""Batches that are made at once; each may hold tens of megabytes."""


@dataclass(frozen=True, slots=True)
class Examples:
    """Inputs [n, …] (features f32 or images u8) and their labels [n], or [n, classes] where they may have many."""

    inputs: np.ndarray
    labels: np.ndarray
    vary: Callable[[np.ndarray, np.ndarray, int], np.ndarray] | None = None
    """What training sees of inputs at indices in an epoch; none: the inputs themselves."""

    def batches(self, order: Iterable[np.ndarray], epoch: int) -> Generator[tuple[np.ndarray, np.ndarray], None, None]:
        """Indices and what training sees of them, f32, for each batch of an epoch; made while it trains on others.

        What a batch holds follows from its indices and the epoch alone, so threads and timing change nothing in it.
        """

        def batch(indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            inputs = self.inputs[indices]
            return indices, (self.vary(inputs, indices, epoch) if self.vary else inputs).astype(np.float32)

        threads = min(available_cpus(), _MOST_AHEAD)
        return prefetch(batch, order, threads, threads + 1)


@dataclass(frozen=True, slots=True)
class Learner:
    """What is trained: `model` gives logits as they will be used, `forward` as training sees them."""

    model: keras.Model
    forward: Callable[[Any], Any]
    variables: list[Any]
    """Those that the optimizer changes."""
    head: Head
    class_weights: np.ndarray
    """How much a training image counts by its label, float32 [classes]."""
    answer: Answer
    """`model` over whole arrays."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How it is trained."""

    title: str
    stage: StageTable
    batch_size: int
    seed: int
    checkpoint: Path
    told: Callable[[Epoch], None]
    """Hears of every epoch once the checkpoint holds it."""

    def learning_rate(self, epochs: Sequence[Epoch], steps: int) -> float:
        """What the step after so many steps, of which these epochs are made, takes."""
        if self.stage.schedule is None:
            return self.stage.learning_rate
        losses = [epoch.val_loss for epoch in epochs]
        share = self.stage.schedule.share(losses, self.stage.epochs) * self.stage.schedule.share_at(steps)
        return self.stage.learning_rate * share

    def paced(
        self, step: Callable[..., Any], optimizer: Any, epochs: Sequence[Epoch], steps: int
    ) -> Callable[..., Any]:
        """`step`, at the learning rate of each where that falls by steps."""
        if self.stage.schedule is None or not self.stage.schedule.by_step:
            return step
        numbers, before = itertools.count(steps), tuple(epochs)

        def at_its_rate(*batch: Any) -> Any:
            optimizer.learning_rate = self.learning_rate(before, next(numbers))
            return step(*batch)

        return at_its_rate


def fit(learner: Learner, train: Examples, validation: Examples, plan: Plan, progress: Progress) -> tuple[Epoch, ...]:
    """Train `learner`, from its last finished epoch if it was stopped; leaves it with the best epoch's weights.

    With patience unset the last epoch's weights are kept. After every epoch the checkpoint holds all that going on
    takes, so a stop at any time loses the running epoch at most, and the end is the same to the bit.

    Raises:
        DataError: the loss is no longer a number.
    """
    optimizer = make_optimizer(plan.stage)
    optimizer.build(learner.variables)
    variables = tf_compat.state(learner.model)
    course = checkpoint.restore(plan.checkpoint, variables, optimizer.variables)
    if course.epochs:
        progress.log(f"  {plan.title}: going on after epoch {len(course.epochs)} of {plan.stage.epochs}")
    step = training_step(learner, optimizer)
    left = (plan.stage.epochs - len(course.epochs)) * len(train.labels)
    with progress.track(plan.title, left) as task:
        while not course.enough(plan.stage.epochs, plan.stage.patience):
            steps = len(course.epochs) * math.ceil(len(train.labels) / plan.batch_size)
            rate = plan.learning_rate(course.epochs, steps)
            optimizer.learning_rate = rate
            paced = plan.paced(step, optimizer, course.epochs, steps)
            epoch = _run_epoch(learner, paced, train, validation, plan, len(course.epochs) + 1, rate, task)
            course.epochs.append(epoch)
            if epoch.val_loss < course.best_loss:
                course.best_loss, course.best_epoch = epoch.val_loss, epoch.number
                course.best = [np.array(tf_compat.array(variable)) for variable in variables]
            checkpoint.save(plan.checkpoint, course, variables, optimizer.variables)
            plan.told(epoch)
            progress.log(_line(plan, epoch, len(train.labels)))
    if plan.stage.patience is not None:
        for variable, value in zip(variables, course.best, strict=True):
            variable.assign(value)
    return tuple(course.epochs)


def make_optimizer(stage: StageTable) -> keras.optimizers.Optimizer:
    """The stage's optimizer at its learning rate, all else as Keras has it."""
    import keras

    kinds = {"adam": "Adam", "adamax": "Adamax", "sgd": "SGD", "adamw": "AdamW"}
    return getattr(keras.optimizers, kinds[stage.optimizer])(learning_rate=stage.learning_rate)


def answering(model: keras.Model) -> Answer:
    """A function that runs `model` over inputs [n, …] in batches of a given size; traced when it is first called."""
    tf = start_tensorflow()

    @tf.function(input_signature=[tf.TensorSpec(model.input_shape)])  # type: ignore[untyped-decorator]  # tensorflow ships no types
    def answer(batch: Any) -> Any:
        return model(batch, training=False)

    def run(inputs: np.ndarray, batch_size: int) -> np.ndarray:
        def batch(start: int) -> np.ndarray:
            return inputs[start : start + batch_size].astype(np.float32)

        with closing(prefetch(batch, range(0, len(inputs), batch_size), 1, 2)) as coming:
            return np.concatenate([answer(each).numpy() for each in coming])

    return run


def shuffled(count: int, batch_size: int, *, seed: int, stage: str, epoch: int) -> Iterator[np.ndarray]:
    """The indices of each batch of an epoch, in an order that seed, stage and epoch decide."""
    order = np.random.default_rng([seed, _STAGE_SEEDS[stage], epoch]).permutation(count)
    yield from (order[start : start + batch_size] for start in range(0, count, batch_size))


def training_step(learner: Learner, optimizer: keras.optimizers.Optimizer) -> Callable[..., Any]:
    """One batch: logits by `forward`, weighted mean loss, gradients, update; gives that loss and the logits."""
    tf = start_tensorflow()
    losses_of = learner.head.losses()
    sparse = learner.head.loss_name == "sparse-categorical"
    targets_spec = tf.TensorSpec([None], tf.int64) if sparse else tf.TensorSpec(learner.model.output_shape)
    weights_spec = tf.TensorSpec(learner.model.output_shape if learner.head.multi_label else [None])
    signature = [tf.TensorSpec(learner.model.input_shape), targets_spec, weights_spec]

    @tf.function(input_signature=signature)  # type: ignore[untyped-decorator]  # tensorflow ships no types
    def step(inputs: Any, targets: Any, weights: Any) -> Any:
        with tf.GradientTape() as tape:
            logits = learner.forward(inputs)
            loss = tf.reduce_mean(losses_of(targets, logits) * weights)
        gradients = tape.gradient(loss, tf_compat.tensors(learner.variables))
        optimizer.apply_gradients(zip(gradients, learner.variables, strict=True))
        return loss, logits

    return step  # type: ignore[no-any-return]  # tensorflow ships no types


def _run_epoch(
    learner: Learner,
    step: Callable[..., Any],
    train: Examples,
    validation: Examples,
    plan: Plan,
    number: int,
    rate: float,
    task: Task,
) -> Epoch:
    """Every training image once, then the validation images. Training figures are those of the moving weights."""
    start, seen, loss_sum, correct = time.monotonic(), 0, 0.0, 0
    targets = learner.head.targets(train.labels, len(learner.class_weights))
    weights = learner.head.weights(train.labels, learner.class_weights)
    order = shuffled(len(targets), plan.batch_size, seed=plan.seed, stage=plan.stage.name, epoch=number)
    with closing(train.batches(order, number)) as coming:
        for batch, inputs in coming:
            loss, logits = step(inputs, targets[batch], weights[batch])
            seen += len(batch)
            loss_sum += float(loss) * len(batch)
            correct += int(dispatch.right(logits.numpy(), train.labels[batch]).sum())
            note = _note(plan, number, seen, loss_sum, correct, len(targets), time.monotonic() - start)
            task.advance(len(batch), note)
    sanity_checks.refuse_no_number(loss_sum, "loss", number, plan.title)
    logits = learner.answer(validation.inputs, plan.batch_size)
    val_loss = dispatch.cross_entropy(logits, validation.labels, learner.head.loss_name)
    sanity_checks.refuse_no_number(val_loss, "validation loss", number, plan.title)
    return Epoch(
        stage=plan.stage.name,
        number=number,
        loss=loss_sum / seen,
        accuracy=correct / seen,
        val_loss=val_loss,
        val_accuracy=float(np.mean(dispatch.right(logits, validation.labels))),
        seconds=time.monotonic() - start,
        learning_rate=rate,
    )


def _note(plan: Plan, number: int, seen: int, loss_sum: float, correct: int, total: int, seconds: float) -> str:
    """What stands beside the bar: epoch, speed, loss, accuracy and the time left in the stage."""
    left = ((plan.stage.epochs - number + 1) * total - seen) * seconds / seen
    return (
        f"epoch {number}/{plan.stage.epochs}, {seen / seconds:.0f} images/s, loss {loss_sum / seen:.3f}, "
        f"accuracy {correct / seen:.3f}, {left:.0f} s left"
    )


def _line(plan: Plan, epoch: Epoch, total: int) -> str:
    """An epoch that is over, for people."""
    left = (plan.stage.epochs - epoch.number) * epoch.seconds
    return (
        f"  {plan.title}: epoch {epoch.number}/{plan.stage.epochs}, {total / epoch.seconds:.0f} images/s, "
        f"loss {epoch.loss:.4f}, accuracy {epoch.accuracy:.4f}, validation loss {epoch.val_loss:.4f}, "
        f"accuracy {epoch.val_accuracy:.4f}, at most {left:.0f} s left"
    )
