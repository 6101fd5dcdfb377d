"""Load a user's weights file into a network's body, by layer name.

Three formats: .keras (a whole model), .h5 (Keras 2's or 3's HDF5, a whole model or weights), .weights.h5 (Keras 3).
Layers that the body does not have (an old classifier) are left out; a layer that the file lacks is an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from toolkit.errors import ConfigurationError
from toolkit.networks import keras_files
from toolkit.system.clean_copy import clean_copy

if TYPE_CHECKING:
    import keras

LayerArrays = dict[str, list[np.ndarray]]


def fill_from_file(body: keras.Model, path: Path) -> None:
    """Fill every layer of `body` that has weights from the layer of the same name in the file.

    Raises:
        ConfigurationError: the file is missing, in an unknown format, or does not fit; names the layers.
    """
    stored = _read(path)
    expected = {layer.name: layer for layer in body.layers if layer.weights}
    missing = [name for name in expected if name not in stored]
    if missing:
        raise ConfigurationError(
            f"holds {len(expected) - len(missing)} of the {len(expected)} layers of {body.name}; missing: {_some(missing)}",
            where=str(path),
            remedy=f"it holds {_some(list(stored))}; is it a file of this network?",
        )
    differing = [name for name, layer in expected.items() if _shapes(layer.get_weights()) != _shapes(stored[name])]
    if differing:
        raise ConfigurationError(
            f"the shapes of {len(differing)} layers differ: {_some(differing)}",
            where=str(path),
            remedy="is it this network's?",
        )
    for name, layer in expected.items():
        layer.set_weights(stored[name])


def _read(path: Path) -> LayerArrays:
    if not path.is_file():
        raise ConfigurationError(
            "no such weights file", where=str(path), remedy='paths are relative to the experiment file; or "imagenet"'
        )
    if path.suffix not in {".keras", ".h5", ".hdf5"}:
        raise ConfigurationError("not a weights file", where=str(path), remedy="use a .keras, .h5 or .weights.h5 file")
    try:
        with clean_copy(path) as copy:
            if path.suffix == ".keras":
                return _of_model(copy)
            return _of_weights_h5(copy) if path.name.endswith(".weights.h5") else _of_h5(copy)
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise ConfigurationError(
            f"cannot be read as weights: {error}",
            where=str(path),
            remedy="a whole model saved as .h5 is read by layer name, whichever Keras made it",
        ) from error


def _of_model(path: Path) -> LayerArrays:
    def layers(model: Any) -> Iterator[Any]:
        for layer in model.layers:
            yield from layers(layer) if hasattr(layer, "layers") else [layer]

    return {layer.name: layer.get_weights() for layer in layers(keras_files.load_model(path))}


def _of_weights_h5(path: Path) -> LayerArrays:
    """Keras 3 numbers a layer's variables in a group `vars` that bears the layer's name."""
    import h5py

    layers: LayerArrays = {}

    def visit(name: str, group: Any) -> None:
        if name.endswith("/vars") and len(group):
            if "name" not in group.attrs:
                raise ValueError(
                    "it does not name its layers, as Keras 2 leaves out; save the whole model as .keras or .h5"
                )
            layers[str(group.attrs["name"])] = [np.asarray(group[key]) for key in sorted(group, key=int)]

    with h5py.File(path) as file:
        file.visititems(visit)
    return layers


def _of_h5(path: Path) -> LayerArrays:
    """Keras' HDF5 names each array MODEL/…/LAYER/ARRAY:0; the layer is the last but one."""
    import h5py

    layers: LayerArrays = {}
    with h5py.File(path) as file:
        root = file.get("model_weights", file)
        for group in (root[_text(name)] for name in root.attrs["layer_names"]):
            for array in map(_text, group.attrs["weight_names"]):
                layer = array.split("/")[-2] if "/" in array else group.name.rsplit("/")[-1]
                layers.setdefault(layer, []).append(np.asarray(group[array]))
    return layers


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def _shapes(arrays: list[np.ndarray]) -> list[tuple[int, ...]]:
    return [array.shape for array in arrays]


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
