"""What OpenVINO cannot convert is refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from toolkit.errors import ConversionError, DataError
from toolkit.networks.openvino_export import trace
from toolkit.networks.tf_compat import is_keras_2
from toolkit.networks.tf_runtime import start_tensorflow


def recurrent(layers: Any, x: Any) -> Any:
    return layers.LSTM(3)(layers.Reshape((16, 4))(x))


def cubic(layers: Any, x: Any) -> Any:
    return layers.GlobalAveragePooling2D()(layers.UpSampling2D(2, interpolation="bicubic")(x))


# Keras 2 writes a recurrent layer in words that OpenVINO has.
UNSAID = [] if is_keras_2() else [(recurrent, r"TensorList\n.*unroll=True")]


@pytest.mark.parametrize(
    ("middle", "text"),
    [*UNSAID, (cubic, r"ResizeBicubic\n.*bilinear")],
)
def test_trace_names_the_operation_when_openvino_has_no_words(middle: Any, text: str) -> None:
    start_tensorflow()
    import keras

    image = keras.Input((8, 8, 3))
    x = middle(keras.layers, keras.layers.Conv2D(1, 1)(image))
    model = keras.Model(image, keras.layers.Dense(2, activation="softmax")(x), name="unsaid")
    with pytest.raises(ConversionError, match=f"unsaid: OpenVINO cannot convert the TensorFlow operation {text}"):
        trace(model)


@pytest.mark.parametrize(
    ("shape", "outputs", "what", "remedy"),
    [
        ((None, None, 3), 1, "takes images of any size", "--input-size"),
        ((8, 8, 1), 1, "not one RGB image", r"Conv2D\(1, 1\)"),
        ((4,), 1, "not one RGB image", "keras.Input"),
        ((8, 8, 3), 2, "not one row of numbers", r"model.outputs\[0\]"),
    ],
)
def test_trace_says_which_model_to_save(shape: tuple[int | None, ...], outputs: int, what: str, remedy: str) -> None:
    start_tensorflow()
    import keras

    image = keras.Input(shape)
    flat = keras.layers.GlobalAveragePooling2D()(image) if len(shape) == 3 else image
    with pytest.raises(DataError, match=f"{what}.*\n.*{remedy}"):
        trace(keras.Model(image, [keras.layers.Dense(3)(flat) for _ in range(outputs)]))
