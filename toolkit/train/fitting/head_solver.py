"""The top stage without epochs: a linear head on frozen features is a convex problem, so it is solved directly.

The regularization is chosen by the loss on held-out images: the validation images and, if these are few, cross-validation
on the training images.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from toolkit.artifacts.model import Epoch
from toolkit.train.fitting import logistic
from toolkit.train.fitting.loop import Examples, TrainState
from toolkit.train.metrics import dispatch

if TYPE_CHECKING:
    import keras

FOLDS = 5
FEW = 500
"""Up to this many validation images, cross-validation has a say."""


def solve_head(
    state: TrainState, model: keras.Model, train: Examples, validation: Examples, augmented: Examples | None = None
) -> Epoch:
    """Give the layer "logits" of `model` its best weights; the one epoch that a record of it has.

    `augmented` are further versions of the training images, [k n, channels]: all of them, one version after the other.
    """
    start = time.monotonic()
    best = best_model(state, train, validation, augmented)
    model.get_layer("logits").set_weights([best.kernel, best.bias])
    loss, accuracy = _judge(state, best, train)
    val_loss, val_accuracy = _judge(state, best, validation)
    return Epoch(
        stage="top",
        number=1,
        loss=loss,
        accuracy=accuracy,
        val_loss=val_loss,
        val_accuracy=val_accuracy,
        seconds=time.monotonic() - start,
        learning_rate=0.0,
    )


def best_model(
    state: TrainState, train: Examples, validation: Examples, augmented: Examples | None = None
) -> logistic.LinearModel:
    """Of the solutions for all strengths of regularization, that with the lowest loss on images it has not seen.

    No version of an image is learned from while the image itself is held out.
    """
    every = np.arange(len(train.labels))
    learned = train.followed_by(augmented)
    models = _solutions(state, learned)
    losses = len(validation.labels) * np.array([_judge(state, model, validation)[0] for model in models])
    if len(validation.labels) <= FEW:
        order = np.random.default_rng(0).permutation(every)
        for fold in range(FOLDS):
            held_out = order[fold::FOLDS]
            rest = Examples(train.inputs[held_out], train.labels[held_out])
            rows = ~np.isin(np.arange(len(learned.labels)) % len(every), held_out)
            partial = _solutions(state, Examples(learned.inputs[rows], learned.labels[rows]))
            losses += len(held_out) * np.array([_judge(state, model, rest)[0] for model in partial])
    return models[int(losses.argmin())]


def _solutions(state: TrainState, train: Examples) -> list[logistic.LinearModel]:
    labels, head = train.labels, state.head
    targets: Any = head.targets(labels, len(state.class_weights))
    if targets.ndim == 1:
        targets = np.eye(len(state.class_weights), dtype=np.float32)[targets]
    weights = head.weights(labels, state.class_weights)
    return logistic.fit(train.inputs, targets, weights, shared=head.name == "softmax")


def _judge(state: TrainState, model: logistic.LinearModel, examples: Examples) -> tuple[float, float]:
    logits = model.logits(examples.inputs)
    loss = dispatch.cross_entropy(logits, examples.labels, state.head.loss_name)
    return loss, float(np.mean(dispatch.is_correct(logits, examples.labels)))
