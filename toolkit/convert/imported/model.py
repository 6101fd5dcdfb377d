"""A file of another maker with its ends understood: a graph like any other's, and reference answers by its own runtime."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from toolkit.artifacts import Foreign, TrainedModel, Workspace
from toolkit.convert.imported import formats, io_adapters
from toolkit.convert.parity import Images, Probabilities

if TYPE_CHECKING:
    import openvino as ov


@dataclass(frozen=True, slots=True)
class Opened:
    """A foreign file with its ends understood."""

    path: Path
    foreign: Foreign
    size: tuple[int, int]

    @classmethod
    def of(cls, model: TrainedModel, workspace: Workspace) -> Opened:
        """The one that `model` was brought in from."""
        if model.foreign is None:
            raise ValueError(f"{model.digest} was trained here")
        return cls(workspace.absolute(model.path), model.foreign, model.input_size)

    def trace(self) -> ov.Model:
        """u8 NHWC RGB image in, probabilities out."""
        graph = formats.read(self.path, self.foreign.format, self.size)
        entry = io_adapters.Entry(self.foreign.kind, self.foreign.layout, self.size)
        io_adapters.fix(graph, entry)
        return io_adapters.give_probabilities(io_adapters.take_images(graph, entry, self.foreign), self.foreign)

    def predict(self, chunks: Iterable[Images]) -> Probabilities:
        """What the format's own runtime answers, f32 [n, classes], to u8 [n,H,W,3] images."""
        ask = formats.runtime(self.path, self.foreign.format, self.size)
        rows = [_probabilities(ask(self._shown(image)), self.foreign) for chunk in chunks for image in chunk]
        return np.stack(rows).astype(np.float32)

    def _shown(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
        """u8 [H,W,3] RGB as the model's own input."""
        colored = image[..., ::-1] if self.foreign.color == "BGR" else image
        scaled = (colored.astype(np.float32) - np.array(self.foreign.mean, np.float32)) / np.array(
            self.foreign.deviation, np.float32
        )
        kind = {"f32": np.float32, "f16": np.float16, "u8": np.uint8, "i8": np.int8}[self.foreign.kind]
        turned = scaled if self.foreign.layout == "NHWC" else scaled.transpose(2, 0, 1)
        return np.ascontiguousarray(turned[np.newaxis], dtype=kind)


def _probabilities(answer: npt.NDArray[Any], foreign: Foreign) -> npt.NDArray[np.float32]:
    """One raw answer as f32 [classes]."""
    row = answer.reshape(-1).astype(np.float32)
    if foreign.output_scale is not None:
        row = (row - foreign.output_zero) * np.float32(foreign.output_scale)
    if foreign.output == "logits":
        if len(row) == 1:
            return np.asarray(1 / (1 + np.exp(-row)), dtype=np.float32)
        raised = np.exp(row - row.max())
        row = raised / raised.sum()
    return np.asarray(row, dtype=np.float32)
