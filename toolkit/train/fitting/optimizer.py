"""The optimizer of a stage: separate learning rates for body and head, gradient clipping, weight decay, averaged weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from toolkit.experiment.training_schema import StageConfig
from toolkit.networks import start_tensorflow, tf_compat

if TYPE_CHECKING:
    import keras

_KINDS = {"adam": "Adam", "adamax": "Adamax", "sgd": "SGD", "adamw": "AdamW"}
_NOT_DECAYED = ["bias", "gamma", "beta"]


class StageOptimizer:
    """Updates `variables` as the stage says; those of the head at `head_rate` times the learning rate."""

    def __init__(self, stage: StageConfig, variables: Sequence[Any], head: Sequence[Any] = ()) -> None:
        self._stage = stage
        self._targets = list(variables)
        heads = {id(variable) for variable in head}
        factor = stage.head_rate or 1.0
        self._in_head = [factor != 1 and id(variable) in heads for variable in self._targets]
        self._groups = [
            (_make(stage, group), factor if is_head else 1.0, is_head)
            for is_head in (False, True)
            if (group := [one for one, own in zip(self._targets, self._in_head, strict=True) if own == is_head])
        ]
        self._average = [tf_compat.new_variable(tf_compat.array(one)) for one in self._targets] if stage.average else []

    @property
    def variables(self) -> list[Any]:
        """What a checkpoint must hold to go on: the state of the optimizers, and the averaged weights."""
        return [variable for optimizer, _, _ in self._groups for variable in optimizer.variables] + self._average

    @property
    def averages(self) -> bool:
        """Whether the weights to validate and save are averages over steps."""
        return bool(self._average)

    def set_rate(self, rate: float) -> None:
        """The learning rate of the steps that follow."""
        for optimizer, factor, _ in self._groups:
            optimizer.learning_rate = rate * factor

    def apply(self, gradients: Sequence[Any]) -> None:
        """One update with gradients in the order of the variables; called inside a tf.function."""
        tf = start_tensorflow()
        if self._stage.clip_norm:
            gradients, _ = tf.clip_by_global_norm(gradients, self._stage.clip_norm)
        pairs = list(zip(gradients, self._targets, self._in_head, strict=True))
        for optimizer, _, is_head in self._groups:
            optimizer.apply_gradients([(gradient, variable) for gradient, variable, own in pairs if own == is_head])
        self._update_average()

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The model has its averaged weights inside, if there are any, and those being trained again afterwards."""
        trained = [np.array(tf_compat.array(variable)) for variable in self._targets] if self._average else []
        for variable, shadow in zip(self._targets if trained else [], self._average, strict=True):
            variable.assign(tf_compat.array(shadow))
        try:
            yield
        finally:
            for variable, value in zip(self._targets if trained else [], trained, strict=True):
                variable.assign(value)

    def _update_average(self) -> None:
        """The decay grows from 0.1 to the stage's own, so that the first steps are soon forgotten."""
        if not self._average:
            return
        tf = start_tensorflow()
        steps = tf.cast(tf.convert_to_tensor(self._groups[0][0].iterations), tf.float32)
        decay = tf.minimum(float(self._stage.average or 0), (1 + steps) / (10 + steps))
        values, averages = tf_compat.tensors(self._targets), tf_compat.tensors(self._average)
        for shadow, average, value in zip(self._average, averages, values, strict=True):
            shadow.assign(decay * average + (1 - decay) * value)


def _make(stage: StageConfig, variables: Sequence[Any]) -> keras.optimizers.Optimizer:
    """The stage's optimizer, all that the stage does not say as Keras has it."""
    import keras

    decay = {"weight_decay": stage.weight_decay or 0.0} if stage.weight_decay or stage.optimizer == "adamw" else {}
    kind = getattr(keras.optimizers, _KINDS[stage.optimizer or "adamw"])
    optimizer = kind(learning_rate=stage.learning_rate or 1e-3, **decay)
    if decay:
        optimizer.exclude_from_weight_decay(var_names=_NOT_DECAYED)
    optimizer.build(list(variables))
    return optimizer
