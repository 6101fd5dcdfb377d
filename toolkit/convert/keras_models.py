"""Keras models as this room needs them: loaded in float32, traced into an OpenVINO graph, asked for reference answers."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from toolkit.errors import DataError
from toolkit.networks.runtime import start_tensorflow

if TYPE_CHECKING:
    import keras
    import openvino as ov

_BATCH = 32


def load_float32(path: Path) -> keras.Model:
    """The Keras model at `path`, every layer computing in float32 whatever it was trained in.

    Raises:
        DataError: the file cannot be read as a Keras model.
    """
    start_tensorflow()
    import keras

    try:
        model = keras.saving.load_model(path, compile=False)
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"not a Keras model that can be loaded: {error}", where=str(path)) from error
    return _in_float32(model)


def trace(model: keras.Model) -> ov.Model:
    """`model` as an OpenVINO graph: f32 [1,H,W,3] in, f32 [1,n] out.

    Raises:
        DataError: it does not take one RGB picture, or does not give one row of probabilities.
    """
    shape = _picture_shape(model)
    tf = start_tensorflow()
    import openvino as ov

    def forward(picture: Any) -> Any:
        return model(picture, training=False)

    if sys.version_info >= (3, 13):
        _answer_for_openvino(tf.__version__)
    signature = [tf.TensorSpec((1, *shape), tf.float32, name="picture")]
    graph = ov.convert_model(tf.function(forward, signature, autograph=False).get_concrete_function())
    return _with_one_output(graph)


def _answer_for_openvino(tensorflow: str) -> None:
    """Say which TensorFlow this is: OpenVINO 2026.4 asks by exec("del tensorflow"), which fails since PEP 667."""
    from openvino.frontend.tensorflow import utils

    known = {"python_version": platform.python_version(), "tensorflow": tensorflow, "sys_platform": sys.platform}
    utils.get_environment_setup = lambda _framework: dict(known)


def predict(model: keras.Model, chunks: Iterable[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float32]:
    """The probabilities that Keras gives, f32 [n, classes], for u8 [n,H,W,3] pictures that come in chunks."""
    rows = [model.predict(chunk.astype(np.float32), batch_size=_BATCH, verbose=0) for chunk in chunks]
    return np.concatenate(rows).astype(np.float32)


def _picture_shape(model: keras.Model) -> tuple[int, int, int]:
    inputs, outputs = model.inputs, model.outputs
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].shape[3] != 3 or None in inputs[0].shape[1:]:
        raise DataError(f"takes {[tuple(i.shape) for i in inputs]}, not one RGB picture (None, H, W, 3)")
    if len(outputs) != 1 or len(outputs[0].shape) != 2:
        raise DataError(f"gives {[tuple(o.shape) for o in outputs]}, not one row of probabilities (None, n)")
    height, width, channels = inputs[0].shape[1:]
    return height, width, channels


def _with_one_output(graph: ov.Model) -> ov.Model:
    """`graph` without the ends that activations with a gradient of their own (swish) leave in the trace."""
    kept = graph.output("Identity:0")
    for result in graph.get_results():
        if result.output(0) != kept:
            graph.remove_result(result)
    return graph


def _in_float32(model: keras.Model) -> keras.Model:
    """The same weights under the float32 policy; `model` itself when it is so already."""
    import keras

    if all(layer.compute_dtype == "float32" for layer in model.layers):
        return model

    def layer_in_float32(layer: keras.layers.Layer) -> keras.layers.Layer:
        return layer.__class__.from_config(layer.get_config() | {"dtype": "float32"})

    plain = keras.models.clone_model(model, clone_function=layer_in_float32)
    plain.set_weights(model.get_weights())
    return plain
