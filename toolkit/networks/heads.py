"""Heads: what stands on the pooled features, and the loss that fits it.

Training works on logits, where cross-entropies are numerically stable; the activation is a layer of the exported model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from toolkit.errors import ConfigurationError

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, slots=True)
class Head:
    """An output layer with its activation and loss."""

    name: str
    loss_name: str

    def outputs(self, classes: int) -> int:
        """Units of the output layer."""
        return 1 if self.name == "sigmoid" else classes

    def targets(self, labels: np.ndarray, classes: int) -> np.ndarray:
        """Labels [n] as float32 targets [n, outputs]: 0 or 1 for a sigmoid, one-hot for a softmax."""
        if self.name == "sigmoid":
            return labels.astype(np.float32)[:, None]
        one_hot: np.ndarray = np.eye(classes, dtype=np.float32)[labels]
        return one_hot

    def loss(self) -> keras.losses.Loss:
        """Mean cross-entropy in nats from logits and targets [n, outputs]."""
        import keras

        if self.name == "sigmoid":
            return keras.losses.BinaryCrossentropy(from_logits=True)
        return keras.losses.CategoricalCrossentropy(from_logits=True)


HEADS = {
    head.name: head for head in (Head("sigmoid", "binary cross-entropy"), Head("softmax", "categorical cross-entropy"))
}


def find_head(name: str, classes: int) -> Head:
    """The head of that name, for so many classes.

    Raises:
        ConfigurationError: it cannot tell that many classes apart.
    """
    if name not in HEADS:
        raise ConfigurationError(f"unknown head {name!r}", where="matrix.heads", remedy=f"known: {', '.join(HEADS)}")
    if name == "sigmoid" and classes != 2:
        raise ConfigurationError(
            f"one sigmoid unit tells 2 classes apart, and the data has {classes}",
            where="matrix.heads",
            remedy='use "softmax", which has a unit for each class',
        )
    return HEADS[name]
