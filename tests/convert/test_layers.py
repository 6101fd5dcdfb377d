"""Keras' layers one by one, for the stick: each answers as Keras does, on older runtimes too, or is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toolkit import compat, networks
from toolkit.convert import graphs, keras_reference, parity
from toolkit.convert.lowering.lower import lower
from toolkit.convert.runtimes import legacy_openvino
from toolkit.errors import ConversionError
from toolkit.networks.tf_runtime import start_tensorflow
from toolkit.progress import Silent

NCS2 = compat.find_target("ncs2")
SIDE = 16
Middle = Callable[[Any, Any], Any]


def text(layers: Any, x: Any) -> Any:
    """Positions as a sequence."""
    return layers.Reshape((SIDE * SIDE, 8))(x)


def attention(layers: Any, x: Any) -> Any:
    sequence = text(layers, x)
    return layers.MultiHeadAttention(2, 4)(sequence, sequence)


def excited(layers: Any, x: Any) -> Any:
    gate = layers.Dense(8, activation="hard_sigmoid")(layers.GlobalAveragePooling2D()(x))
    return layers.Multiply()([x, layers.Reshape((1, 1, 8))(gate)])


def two(name: str, **settings: Any) -> Middle:
    return lambda layers, x: getattr(layers, name)(**settings)([x, layers.Conv2D(8, 1)(x)])


def one(name: str, *numbers: Any, **settings: Any) -> Middle:
    return lambda layers, x: getattr(layers, name)(*numbers, **settings)(x)


TAKEN: dict[str, Middle] = {
    "transposed convolution": one("Conv2DTranspose", 6, 3, strides=2, padding="same"),
    "dilated convolution": one("Conv2D", 6, 3, dilation_rate=2, padding="same"),
    "grouped convolution": one("Conv2D", 8, 3, groups=4, padding="same"),
    "depthwise convolution with a multiplier": one("DepthwiseConv2D", 3, depth_multiplier=2),
    "separable convolution": one("SeparableConv2D", 6, 3, depth_multiplier=2),
    "enlarging by repetition": one("UpSampling2D", (3, 2)),
    "enlarging by interpolation": one("UpSampling2D", 2, interpolation="bilinear"),
    "resizing": one("Resizing", 10, 12),
    "padding": one("ZeroPadding2D", ((1, 2), (0, 3))),
    "cropping": one("Cropping2D", ((1, 2), (0, 3))),
    "global maximum": one("GlobalMaxPooling2D"),
    "layer normalization": one("LayerNormalization"),
    "group normalization": one("GroupNormalization", 4),
    "PReLU": one("PReLU", alpha_initializer="ones"),
    "ReLU with a slope": one("ReLU", max_value=2.0, negative_slope=0.1, threshold=0.2),
    **{kind: one("Activation", kind) for kind in ("gelu", "mish", "selu", "softsign", "hard_swish", "soft_shrink")},
    "concatenation": two("Concatenate"),
    "average": two("Average"),
    "maximum": two("Maximum"),
    "gate": excited,
    "permutation": one("Permute", (3, 1, 2)),
    "attention of several heads": attention,
    "attention": lambda layers, x: layers.Attention()([text(layers, x)] * 2),
    "unrolled LSTM": lambda layers, x: layers.LSTM(6, unroll=True)(layers.Reshape((8, -1))(x)),
}

REFUSED: dict[str, tuple[Middle, str]] = {
    "LSTM": (lambda layers, x: layers.LSTM(6)(text(layers, x)), r"TensorList\n.*unroll=True"),
    "GRU": (lambda layers, x: layers.GRU(6)(text(layers, x)), r"TensorList\n.*unroll=True"),
    "cubic resizing": (one("Resizing", 24, 20, interpolation="bicubic"), "ResizeBicubic"),
    "softmax over two axes": (one("Softmax", axis=(1, 2)), "IsFinite-10 cannot be lowered to opset 6"),
    "sparsemax": (one("Activation", "sparsemax"), "TopK-11 cannot be lowered to opset 6"),
    "sparse sigmoid": (one("Activation", "sparse_sigmoid"), "GreaterEqual is not supported"),
}


def network(middle: Middle) -> Any:
    start_tensorflow()
    import keras

    keras.utils.set_random_seed(3)
    layers = keras.layers
    spread = keras.initializers.RandomNormal(stddev=0.3, seed=3)
    image = keras.Input((SIDE, SIDE, 3))
    x = layers.Conv2D(8, 3, padding="same", kernel_initializer=spread)(layers.Rescaling(1 / 127.5, -1.0)(image))
    x = layers.Flatten()(middle(layers, x))
    far = keras.initializers.RandomNormal(stddev=2 / np.sqrt(x.shape[-1]), seed=1)
    return keras.Model(image, layers.Dense(3, activation="softmax", kernel_initializer=far)(x), name="one")


def lowered(middle: Middle) -> tuple[Any, Any, Any]:
    """The model for the stick, four images, and Keras' answers to them."""
    model = network(middle)
    images = np.random.default_rng(1).integers(0, 256, (4, SIDE, SIDE, 3), dtype=np.uint8)
    graph = networks.add_uint8_input(networks.trace(model))
    graphs.name_operations(graph)
    return lower(graph, NCS2).model, images, keras_reference.predict(model, [images])


@pytest.mark.slow
@pytest.mark.parametrize("name", TAKEN)
def test_lower_answers_as_keras_when_the_layer_is_taken(name: str) -> None:
    model, images, expected = lowered(TAKEN[name])
    np.testing.assert_allclose(parity.predict(model, [images]), expected, rtol=0, atol=1e-4)


@pytest.mark.legacy
@pytest.mark.parametrize("name", TAKEN)
def test_lower_answers_alike_on_older_runtimes_when_the_layer(name: str, tmp_path: Path) -> None:
    model, images, _ = lowered(TAKEN[name])
    graphs.write(model, tmp_path / "model.xml", container=10, compress=False)
    for generation in ("2021", "2022"):
        result = legacy_openvino.compare(
            tmp_path / "model.xml", compat.known().generations[generation], "fp32", images, Silent()
        )
        assert result.passed, result


@pytest.mark.parametrize("name", REFUSED)
def test_lower_names_the_operation_when_the_layer_has_no_older(name: str) -> None:
    middle, predicted = REFUSED[name]
    with pytest.raises(ConversionError, match=predicted):
        lowered(middle)
