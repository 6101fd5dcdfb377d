"""Keras models as this room needs them: loaded in float32, asked for reference answers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from toolkit.errors import DataError
from toolkit.networks import tf_compat

if TYPE_CHECKING:
    import keras

_BATCH = 32


def load_float32(path: Path) -> keras.Model:
    """The Keras model at `path`, every layer computing in float32 whatever it was trained in.

    Raises:
        DataError: the file cannot be read as a Keras model.
    """
    try:
        model = tf_compat.load(path)
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"not a Keras model that can be loaded: {error}", where=str(path)) from error
    return _in_float32(model)


def predict(model: keras.Model, chunks: Iterable[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float32]:
    """The probabilities that Keras gives, f32 [n, classes], for u8 [n,H,W,3] images that come in chunks."""
    rows = [model.predict(chunk.astype(np.float32), batch_size=_BATCH, verbose=0) for chunk in chunks]
    return np.concatenate(rows).astype(np.float32)


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
