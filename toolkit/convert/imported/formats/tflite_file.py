"""TensorFlow Lite models."""

from __future__ import annotations

import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from toolkit.convert.imported.file_facts import FileFacts
from toolkit.convert.imported.formats.frontend import read_graph
from toolkit.convert.imported.formats.model_file import IntegerScale, ModelFile, Numbers, Runtime, damaged
from toolkit.convert.imported.formats.tflite_metadata import read_normalization
from toolkit.errors import DataError
from toolkit.networks.tf_runtime import start_tensorflow

if TYPE_CHECKING:
    import openvino as ov

_IDENTIFIER = b"TFL3"


@dataclass(frozen=True)
class TfliteFile(ModelFile):
    """A .tflite file; TensorFlow Lite's interpreter gives the reference answers, without delegates."""

    format: ClassVar[str] = "tflite"
    runtime_name: ClassVar[str] = "TensorFlow Lite"

    def graph(self) -> ov.Model:
        """The graph, its integer input and output as they are."""
        self._check()
        return read_graph("tflite", self.path, self.path)

    def runtime(self) -> Runtime:
        """The interpreter, one image at a time."""
        interpreter = self._interpreter()
        (taken,), (output_details,) = interpreter.get_input_details(), interpreter.get_output_details()
        height, width = self.size or taken["shape"][1:3]
        interpreter.resize_tensor_input(taken["index"], (1, height, width, 3))
        interpreter.allocate_tensors()

        def run(image: Numbers) -> Numbers:
            interpreter.set_tensor(taken["index"], image)
            interpreter.invoke()
            return np.asarray(interpreter.get_tensor(output_details["index"]))

        return run

    def facts(self) -> FileFacts:
        """The normalization in TensorFlow Lite's metadata, and labels from the text file behind the model."""
        scaling = read_normalization(self.path.read_bytes())
        return FileFacts(labels=self._labels(), scaling=scaling, source="the file's metadata" if scaling else "")

    def _labels(self) -> tuple[str, ...] | None:
        if not zipfile.is_zipfile(self.path):
            return None
        with zipfile.ZipFile(self.path) as archive:
            texts = [name for name in archive.namelist() if name.endswith(".txt")]
            if not texts or archive.getinfo(texts[0]).file_size > 1_000_000:
                return None
            lines = archive.read(texts[0]).decode(errors="replace").splitlines()
        return tuple(line.strip() for line in lines if line.strip()) or None

    def input_scale(self) -> IntegerScale | None:
        """The file's own scale and zero point of an integer input."""
        return _scale(self._interpreter().get_input_details())

    def output_scale(self) -> IntegerScale | None:
        """The same of an integer output."""
        return _scale(self._interpreter().get_output_details())

    def _check(self) -> None:
        with self.path.open("rb") as stream:
            head = stream.read(8)
        if head[4:8] != _IDENTIFIER:
            raise damaged(self.path, "it is not a TensorFlow Lite file")

    def _interpreter(self) -> Any:
        self._check()
        tf = start_tensorflow()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it will move to another package
            plain = tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
            try:
                return tf.lite.Interpreter(
                    model_path=str(self.path), num_threads=1, experimental_op_resolver_type=plain
                )
            except (ValueError, RuntimeError) as error:
                raise _explain(self.path, str(error)) from None


def _scale(details: list[dict[str, Any]]) -> IntegerScale | None:
    if len(details) != 1 or not np.issubdtype(details[0]["dtype"], np.integer):
        return None
    scale, zero_point = details[0]["quantization"]
    return IntegerScale(float(scale), int(zero_point)) if scale else None


def _explain(path: Path, message: str) -> DataError:
    if "custom op" in message.lower() or "unresolved" in message.lower():
        remedy = "export it with TensorFlow Lite's own operations only"
        return DataError(f"has operations that its interpreter lacks: {message[:300]}", where=str(path), remedy=remedy)
    return damaged(path, message)
