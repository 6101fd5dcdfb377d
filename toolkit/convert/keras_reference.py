"""Keras models in float32, for reference answers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from toolkit.errors import DataError
from toolkit.networks import keras_files

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
    rows = [model.predict(chunk.astype(np.float32), batch_size=_BATCH, verbose=0) for chunk in chunks]
    return np.concatenate(rows).astype(np.float32)
