"""Inspect Keras models: parameters and multiply-adds per layer, and savings by depthwise separation.

A depthwise k x k convolution with the 1 x 1 convolution to N filters after it takes 1/N + 1/k² of the multiply-adds of a
plain k x k convolution to N filters (Howard et al., MobileNets, arXiv 1704.04861, section 3.1). The ratio is counted from
the layers' shapes here; a test holds it against the formula.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from toolkit.errors import MachineError
from toolkit.networks import keras_files, tf_compat
from toolkit.system.clean_copy import clean_copy

_PASSED_THROUGH = {"BatchNormalization", "ReLU", "Activation", "LeakyReLU", "Dropout", "ZeroPadding2D"}


@dataclass(frozen=True, slots=True, kw_only=True)
class KerasLayer:
    """One layer; a nested model is listed layer by layer."""

    name: str
    kind: str
    shape: tuple[int | None, ...]
    """Of its output; the first is the number of images."""
    parameters: int
    multiply_adds: int
    """Of convolutions and dense layers, for one image: elements of the weights times output positions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Separation:
    """A depthwise convolution and the 1 x 1 convolution after it, against the plain convolution they stand for."""

    depthwise: str
    pointwise: str
    kernel: tuple[int, int]
    filters: int
    multiply_adds: int
    plain_multiply_adds: int

    @property
    def share(self) -> float:
        """What is left of the plain convolution's multiply-adds."""
        return self.multiply_adds / self.plain_multiply_adds

    @property
    def formula(self) -> float:
        """The value by the formula 1/N + 1/k²."""
        return 1 / self.filters + 1 / prod(self.kernel)


@dataclass(frozen=True, slots=True, kw_only=True)
class KerasInspection:
    """A whole model."""

    layers: tuple[KerasLayer, ...]
    parameters: int
    multiply_adds: int
    separations: tuple[Separation, ...]
    depthwise_saving: float | None
    """How many times more multiply-adds the network would need with plain convolutions in place of its depthwise
    separable ones; None if it has none."""


def inspect_file(path: Path) -> KerasInspection:
    """Read a .keras file, with no code of its own run, and count.

    Raises:
        MachineError: it cannot be read.
    """
    try:
        with clean_copy(path) as copy:
            return inspect_model(keras_files.load_model(copy))
    except (OSError, ValueError, TypeError) as error:
        raise MachineError(f"cannot be read as a Keras model: {error}", where=str(path)) from error


def inspect_model(model: Any) -> KerasInspection:
    """Count; the size of an image is the model's own."""
    layers = list(_leaves(model))
    text = tuple(_layer(layer) for layer in layers)
    pairs = tuple(_separations(layers))
    total = sum(layer.multiply_adds for layer in text)
    extra = sum(pair.plain_multiply_adds - pair.multiply_adds for pair in pairs)
    return KerasInspection(
        layers=text,
        parameters=sum(layer.parameters for layer in text),
        multiply_adds=total,
        separations=pairs,
        depthwise_saving=(total + extra) / total if extra else None,
    )


def _leaves(model: Any) -> Iterator[Any]:
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from _leaves(layer)
        else:
            yield layer


def _layer(layer: Any) -> KerasLayer:
    return KerasLayer(
        name=layer.name,
        kind=type(layer).__name__,
        shape=_shape(layer),
        parameters=sum(prod(weight.shape) for weight in layer.weights),
        multiply_adds=_multiply_adds(layer),
    )


def _shape(layer: Any) -> tuple[int | None, ...]:
    output = layer.output[0] if isinstance(layer.output, list | tuple) else layer.output
    return tuple(output.shape)


def _multiply_adds(layer: Any) -> int:
    """Elements of the kernels times the positions they are laid on; of a separable layer, of both its kernels."""
    shape = _shape(layer)
    positions = prod(size or 1 for size in shape[1:-1])
    kernels = [weight for weight in layer.weights if weight.name.removesuffix(":0").endswith("kernel")]
    return int(sum(prod(kernel.shape) for kernel in kernels) * positions)


def _separations(layers: list[Any]) -> Iterator[Separation]:
    for layer in layers:
        follower = _pointwise_after(layer) if type(layer).__name__ == "DepthwiseConv2D" else None
        if follower is not None and layer.depth_multiplier == 1:
            yield _separation(layer, follower)


def _pointwise_after(layer: Any) -> Any | None:
    """The 1 x 1 convolution that reads this one's result, with only norms, activations and padding between."""
    while True:
        readers = tf_compat.readers(layer)
        if len(readers) != 1:
            return None
        (layer,) = readers
        if type(layer).__name__ == "Conv2D":
            return layer if layer.kernel_size == (1, 1) and layer.strides == (1, 1) and layer.groups == 1 else None
        if type(layer).__name__ not in _PASSED_THROUGH:
            return None


def _separation(depthwise: Any, pointwise: Any) -> Separation:
    positions = prod(size or 1 for size in _shape(pointwise)[1:-1])
    channels = _shape(depthwise)[-1] or 1
    return Separation(
        depthwise=depthwise.name,
        pointwise=pointwise.name,
        kernel=depthwise.kernel_size,
        filters=pointwise.filters,
        multiply_adds=_multiply_adds(depthwise) + _multiply_adds(pointwise),
        plain_multiply_adds=prod(depthwise.kernel_size) * channels * pointwise.filters * positions,
    )
