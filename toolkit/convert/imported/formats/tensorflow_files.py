"""SavedModels, frozen graphs and Keras models."""

from __future__ import annotations

import json
import re
import tempfile
import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from toolkit import networks
from toolkit.convert.imported.formats import tensorflow_graphs
from toolkit.convert.imported.formats.frontend import read_graph
from toolkit.convert.imported.formats.model_file import ModelFile, Runtime, damaged, one_at_a_time
from toolkit.convert.imported.formats.tensorflow_graphs import FrozenGraph
from toolkit.errors import DataError, ToolkitError
from toolkit.networks import keras_files

if TYPE_CHECKING:
    import keras
    import openvino as ov


class _GraphFile(ModelFile):
    """What SavedModels and frozen graphs share: both are frozen graphs once they are read."""

    runtime_name: ClassVar[str] = "TensorFlow"

    @cached_property
    def _frozen(self) -> FrozenGraph:
        raise NotImplementedError

    def graph(self) -> ov.Model:
        """The frozen graph as OpenVINO reads it."""
        with tempfile.TemporaryDirectory(prefix="graph-") as folder:
            file = Path(folder) / "frozen.pb"
            file.write_bytes(self._frozen.graph.SerializeToString())
            return read_graph("tf", file, self.path)

    def runtime(self) -> Runtime:
        """TensorFlow on the frozen graph."""
        run, shape = self._frozen.runtime()
        return one_at_a_time(run, shape[0] if shape else None)


@dataclass(frozen=True)
class SavedModelFile(_GraphFile):
    """A folder with a saved_model.pb, of which one signature is taken."""

    format: ClassVar[str] = "saved-model"

    @cached_property
    def _frozen(self) -> FrozenGraph:
        return tensorflow_graphs.read_saved_model(self.path, self.signature or None)


@dataclass(frozen=True)
class FrozenGraphFile(_GraphFile):
    """A .pb file with a frozen GraphDef."""

    format: ClassVar[str] = "frozen-graph"

    @cached_property
    def _frozen(self) -> FrozenGraph:
        return tensorflow_graphs.read_frozen(self.path)


@dataclass(frozen=True)
class KerasFile(ModelFile):
    """A .keras or .h5 file of any Keras; Keras gives the reference answers, in float32, and runs no code of the file."""

    format: ClassVar[str] = "keras"
    runtime_name: ClassVar[str] = "Keras"

    @cached_property
    def _model(self) -> keras.Model:
        try:
            model = keras_files.load_model(self.path, float32=True)
        except Exception as error:
            raise _explain(self.path, error) from error
        return _of_one_image(model, self.size)

    def graph(self) -> ov.Model:
        """The model, traced."""
        return networks.trace(self._model)

    def runtime(self) -> Runtime:
        """The model in float32."""
        model = self._model
        return lambda image: np.asarray(model(image, training=False))


def _of_one_image(model: Any, size: tuple[int, int] | None) -> keras.Model:
    """The model with a free batch, and with the given size where its own is free."""
    import keras

    if len(model.inputs) != 1 or len(model.inputs[0].shape) != 4:
        return model
    batch, height, width, channels = model.inputs[0].shape
    free = None in {height, width} and size is not None
    if batch is None and not free:
        return model
    if batch not in {None, 1}:
        raise DataError(
            f"takes batches of exactly {batch} images", remedy="save it with a free batch size: keras.Input(shape)"
        )
    if size is not None and free:
        height, width = size
    image = keras.Input((height, width, channels))
    return keras.Model(image, model(image))


def _explain(path: Path, error: Exception) -> ToolkitError:
    """The cause for which Keras cannot read the file, and what to do."""
    if isinstance(error, ToolkitError):
        return error
    if isinstance(error, keras_files.UnreadableLayerError):
        remedy = "replace it by layers of Keras, or export the model as a SavedModel or ONNX"
        return DataError(f"{error}, and code from a model file is never run", where=str(path), remedy=remedy)
    why = str(error)
    if "contains weights, not a complete model" in why:
        return DataError(
            "contains weights, not a complete model", where=str(path), remedy="save the model with model.save"
        )
    result = re.search(r"Could not (?:locate|deserialize) (?:class|function) '([^']+)'", why)
    if result:
        remedy = "export it as a SavedModel or ONNX, which hold the operations themselves"
        return DataError(f"has a layer that this Keras does not have, {result[1]}", where=str(path), remedy=remedy)
    if "Unrecognized keyword" in why:
        remedy = "export it as a SavedModel or ONNX from the Keras that made it"
        return DataError(
            f"was saved by a Keras that differs from this one: {why.strip().splitlines()[-1][:200]}",
            where=str(path),
            remedy=remedy,
        )
    if isinstance(error, OSError | KeyError | zipfile.BadZipFile | UnicodeDecodeError | json.JSONDecodeError):
        return damaged(path, why)
    cause = (why.strip().splitlines() or ["no reason given"])[-1][:300]
    remedy = "export it as a SavedModel or ONNX from the Keras that made it"
    return DataError(f"cannot be rebuilt by this Keras: {cause}", where=str(path), remedy=remedy)
