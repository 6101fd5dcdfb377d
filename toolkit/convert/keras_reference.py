"""Keras models in float32, for reference answers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from toolkit.errors import DataError
from toolkit.networks import keras_files, start_tensorflow

if TYPE_CHECKING:
    import keras

_BATCH = 32


def load_float32(path: Path) -> keras.Model:
    """The Keras model at `path`, every layer computing in float32 whatever it was trained in.

    Raises:
        DataError: the file cannot be read as a Keras model.
    """
    try:
        return keras_files.load_model(path, float32=True)
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"not a Keras model that can be loaded: {error}", where=str(path)) from error


def predict(model: keras.Model, chunks: Iterable[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float32]:
    """The probabilities that Keras gives, f32 [n, classes], for u8 [n,H,W,3] images that come in chunks."""
    tf = start_tensorflow()

    @tf.function(input_signature=[tf.TensorSpec(model.input_shape)])  # type: ignore[untyped-decorator]  # tensorflow ships no types
    def answer(batch: Any) -> Any:
        return model(batch, training=False)

    batches = (chunk[at : at + _BATCH] for chunk in chunks for at in range(0, len(chunk), _BATCH))
    return np.concatenate([answer(batch.astype(np.float32)).numpy() for batch in batches]).astype(np.float32)
