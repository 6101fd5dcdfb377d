"""Heads on the pooled features, and their losses.

    head      loss                 targets          made from logits z
    sigmoid   binary               [n, 1]           max(z, 0) - z y + log(1 + exp(-|z|))
    softmax   categorical          [n, classes]     -sum of y log softmax(z)
    softmax   sparse-categorical   [n]              -log softmax(z) of the label
    softmax   binary               [n, classes]     mean over classes of -(y log p + (1 - y) log(1 - p)), p = softmax(z)
    multi-sigmoid  binary          [n, classes]     the sigmoid's, for each label by itself

Training works on logits, where cross-entropies are numerically stable; the activation is a layer of the exported model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from toolkit.errors import ConfigurationError
from toolkit.experiment.schema import NO_LOSS, head_refusal
from toolkit.networks.tf_runtime import start_tensorflow

if TYPE_CHECKING:
    import keras

ImageLosses = Callable[[Any, Any], Any]
"""Targets and logits [n, outputs] to a loss per image [n], or per image and label [n, outputs], in nats."""


@dataclass(frozen=True, slots=True)
class Head:
    """An output layer with its activation (its name) and its loss."""

    name: str
    loss_name: str
    label_smoothing: float = 0.0

    @property
    def multi_label(self) -> bool:
        """Whether an image may have several labels: its labels are then [n, classes] of 1, 0 and -1 (not judged)."""
        return self.name == "multi-sigmoid"

    @property
    def activation(self) -> str:
        """The activation that turns logits into probabilities."""
        return "sigmoid" if self.multi_label else self.name

    def outputs(self, classes: int) -> int:
        """Units of the output layer."""
        return 1 if self.name == "sigmoid" else classes

    def targets(self, labels: np.ndarray, classes: int) -> np.ndarray:
        """Labels [n] (of many: [n, classes]) as the loss wants them: [n] int64 if sparse, else float32 [n, outputs].

        A binary loss' smoothed targets are drawn towards 1/2, a categorical one's towards 1/classes.
        """
        if self.loss_name == "sparse-categorical":
            return labels.astype(np.int64)
        one_hot = (labels == 1).astype(np.float32) if self.multi_label else np.eye(classes, dtype=np.float32)[labels]
        plain = one_hot[:, 1:] if self.name == "sigmoid" else one_hot
        middle = 1 / 2 if self.loss_name == "binary" else 1 / classes
        smoothed: np.ndarray = plain + np.float32(self.label_smoothing) * (np.float32(middle) - plain)
        return smoothed

    def weights(self, labels: np.ndarray, class_weights: np.ndarray) -> np.ndarray:
        """How much each image counts, float32 [n]; of many labels each of them, [n, classes].

        There a class's weight is that of its being present, and what is not judged counts nothing, so that an image's
        loss is the mean over its judged labels.
        """
        if not self.multi_label:
            weights: np.ndarray = class_weights[labels]
            return weights
        judged = (labels >= 0).astype(np.float32)
        share = labels.shape[1] / np.maximum(judged.sum(axis=1, keepdims=True), 1)
        return np.asarray(np.where(labels == 1, class_weights, np.float32(1)) * judged * share, np.float32)

    def losses(self) -> ImageLosses:
        """A function of targets and logits that TensorFlow can differentiate."""
        if self.multi_label:
            return label_cross_entropies
        if (self.name, self.loss_name) == ("softmax", "binary"):
            return softmax_binary_cross_entropy
        return _of_keras(self.loss_name)


def find_head(
    name: str, classes: int, loss: str = "auto", label_smoothing: float = 0.0, *, multi_label: bool = False
) -> Head:
    """Return the head of a name with a loss ("auto": its default) for a number of classes; `many`: several labels per image.

    Raises:
        ConfigurationError: there is no such head, or it cannot tell such classes apart, or the loss is not for it.
    """
    if name not in HEADS:
        raise ConfigurationError(f"unknown head {name!r}", where="matrix.heads", remedy=f"known: {', '.join(HEADS)}")
    if why := head_refusal(name, multi_label=multi_label):
        raise ConfigurationError(f"the head {name!r} does not fit this data: {why}", where="matrix.heads")
    if name == "sigmoid" and classes != 2:
        raise ConfigurationError(
            f"one sigmoid unit tells 2 classes apart, and the data has {classes}",
            where="matrix.heads",
            remedy='use "softmax", which has a unit for each class',
        )
    usual, *others = HEADS[name]
    if loss not in {"auto", usual, *others}:
        raise ConfigurationError(
            f"the loss {loss!r} does not fit the head {name!r}: {NO_LOSS.get((name, loss), 'it is unknown')}",
            where="train.loss",
            remedy=f"use {' or '.join((usual, *others))}",
        )
    return Head(name, usual if loss == "auto" else loss, label_smoothing)


HEADS = {
    "sigmoid": ("binary",),
    "softmax": ("categorical", "sparse-categorical", "binary"),
    "multi-sigmoid": ("binary",),
}
"""The losses of each head, the usual one first."""


def softmax_binary_cross_entropy(targets: Any, logits: Any) -> Any:
    """Mean over classes of the binary cross-entropy between targets and softmax(logits): [n].

    Only the likeliest class can have a probability above 1/2; its log(1 - p) is made from the other classes' logits, as
    subtracting from 1 would leave nothing of it. All others have p <= 1/2, where log1p(-p) is exact.
    """
    tf = start_tensorflow()
    top = tf.one_hot(tf.argmax(logits, axis=1), logits.shape[1], on_value=True, off_value=False)
    total = tf.reduce_logsumexp(logits, axis=1, keepdims=True)
    log_p = logits - total
    rest = tf.where(top, tf.fill(tf.shape(logits), -1e30), logits)
    log_rest = tf.reduce_logsumexp(rest, axis=1, keepdims=True) - total
    small = tf.where(top, tf.zeros_like(logits), tf.exp(log_p))
    log_not_p = tf.where(top, log_rest, tf.math.log1p(-small))
    return -tf.reduce_mean(targets * log_p + (1 - targets) * log_not_p, axis=1)


def label_cross_entropies(targets: Any, logits: Any) -> Any:
    """Each label's binary cross-entropy, max(z, 0) - z y + log(1 + exp(-|z|)): [n, classes]."""
    return start_tensorflow().nn.sigmoid_cross_entropy_with_logits(labels=targets, logits=logits)


def _of_keras(name: str) -> ImageLosses:
    import keras

    kinds: dict[str, type[keras.losses.Loss]] = {
        "binary": keras.losses.BinaryCrossentropy,
        "categorical": keras.losses.CategoricalCrossentropy,
        "sparse-categorical": keras.losses.SparseCategoricalCrossentropy,
    }
    losses: ImageLosses = kinds[name](from_logits=True, reduction="none")
    return losses
