"""Input scaling as layers of the model, so that it cannot differ between training and devices.

Each takes float32 NHWC RGB in 0…255. All are plain Keras layers: they load without custom objects and convert to IR.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import keras

LAYER_NAME = "scaling"


@dataclass(frozen=True, slots=True)
class NetworkScaling:
    """A network's own input scaling: `text` describes it, `layer` creates the Keras layer."""

    text: str
    layer: Callable[[], keras.layers.Layer]


def _rescaling(scale: float | list[float], offset: float | list[float]) -> Callable[[], keras.layers.Layer]:
    def make() -> keras.layers.Layer:
        import keras

        return keras.layers.Rescaling(scale, offset=offset, name=LAYER_NAME)

    return make


def _identity() -> keras.layers.Layer:
    import keras

    return keras.layers.Identity(name=LAYER_NAME)


def _caffe() -> keras.layers.Layer:
    """RGB to BGR, minus the means of ImageNet's channels: a fixed 1x1 convolution."""
    import keras

    layer = keras.layers.Conv2D(3, 1, name=LAYER_NAME, trainable=False)
    layer.build((None, None, None, 3))
    layer.set_weights([np.eye(3, dtype="float32")[::-1].reshape(1, 1, 3, 3), -np.array(CAFFE_MEANS_BGR, "float32")])
    return layer


CAFFE_MEANS_BGR = (103.939, 116.779, 123.68)
TORCH_MEANS = (0.485, 0.456, 0.406)
TORCH_DEVIATIONS = (0.229, 0.224, 0.225)

SYMMETRIC = NetworkScaling("x / 127.5 - 1", _rescaling(1 / 127.5, -1.0))
TORCH_LITE = NetworkScaling("(x - 127) / 128", _rescaling(1 / 128, -127 / 128))
CAFFE = NetworkScaling("BGR, minus 103.939, 116.779, 123.68", _caffe)
TORCH = NetworkScaling(
    "(x / 255 - mean) / deviation, by ImageNet's channels",
    _rescaling(
        [1 / (255 * deviation) for deviation in TORCH_DEVIATIONS],
        [-mean / deviation for mean, deviation in zip(TORCH_MEANS, TORCH_DEVIATIONS, strict=True)],
    ),
)
UNIT = NetworkScaling("x / 255", _rescaling(1 / 255, 0.0))
NONE = NetworkScaling("none", _identity)

SCALINGS = {"none": NONE, "unit": UNIT, "symmetric": SYMMETRIC, "caffe": CAFFE, "torch": TORCH}
"""Those that a body of the user's own may ask for, by the names that Keras' preprocess_input gives them."""
