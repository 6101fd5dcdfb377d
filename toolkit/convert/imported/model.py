"""A file of another maker with its ends understood: a graph like any other's, and reference answers by its own runtime."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from toolkit.artifacts.model import ImportedModel, TrainedModel
from toolkit.convert.imported import formats, io_adapters
from toolkit.convert.parity import Images, Probabilities
from toolkit.workspace import Workspace

if TYPE_CHECKING:
    import openvino as ov


@dataclass(frozen=True, slots=True)
class ImportedGraph:
    """An imported file with its ends understood."""

    path: Path
    imported: ImportedModel
    size: tuple[int, int]

    @classmethod
    def of(cls, model: TrainedModel, workspace: Workspace) -> ImportedGraph:
        """The one that `model` was brought in from."""
        if model.imported is None:
            raise ValueError(f"{model.digest} was trained here")
        return cls(workspace.absolute(model.path), model.imported, model.input_size)

    def trace(self) -> ov.Model:
        """u8 NHWC RGB image in, probabilities out."""
        graph = formats.read(self.path, self.imported.format, self.size)
        entry = io_adapters.InputSpec(self.imported.dtype, self.imported.layout, self.size)
        io_adapters.fix_shape(graph, entry)
        return io_adapters.add_probability_output(
            io_adapters.add_preprocessing(graph, entry, self.imported), self.imported
        )

    def predict(self, chunks: Iterable[Images]) -> Probabilities:
        """What the format's own runtime answers, f32 [n, classes], to u8 [n,H,W,3] images."""
        ask = formats.runtime(self.path, self.imported.format, self.size)
        rows = [_probabilities(ask(self._shown(image)), self.imported) for chunk in chunks for image in chunk]
        return np.stack(rows).astype(np.float32)

    def _shown(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
        """u8 [H,W,3] RGB as the model's own input."""
        colored = image[..., ::-1] if self.imported.color == "BGR" else image
        scaled = (colored.astype(np.float32) - np.array(self.imported.mean, np.float32)) / np.array(
            self.imported.std, np.float32
        )
        kind = {"f32": np.float32, "f16": np.float16, "u8": np.uint8, "i8": np.int8}[self.imported.dtype]
        turned = scaled if self.imported.layout == "NHWC" else scaled.transpose(2, 0, 1)
        return np.ascontiguousarray(turned[np.newaxis], dtype=kind)


def _probabilities(answer: npt.NDArray[Any], imported: ImportedModel) -> npt.NDArray[np.float32]:
    """One raw answer as f32 [classes]."""
    row = answer.reshape(-1).astype(np.float32)
    if imported.output_scale is not None:
        row = (row - imported.output_zero_point) * np.float32(imported.output_scale)
    if imported.output == "logits":
        if len(row) == 1:
            return np.asarray(1 / (1 + np.exp(-row)), dtype=np.float32)
        raised = np.exp(row - row.max())
        row = raised / raised.sum()
    return np.asarray(row, dtype=np.float32)
