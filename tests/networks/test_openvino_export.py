"""What OpenVINO cannot convert is refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from toolkit.errors import ConversionError
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
