"""An imported model with a known input and output: its adapted graph, and the reference answers of its own runtime."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from toolkit.artifacts.model import ImportedModel, TrainedModel
from toolkit.convert.imported import io_adapters, output_kind
from toolkit.convert.imported.file_facts import FileFacts, PixelScaling
from toolkit.convert.imported.formats import format_of
from toolkit.convert.imported.formats.model_file import IntegerScale
from toolkit.convert.parity import Images, Probabilities
from toolkit.system.sandbox import ResourceLimits, Sandbox
from toolkit.workspace import Workspace

if TYPE_CHECKING:
    import openvino as ov

_WORKER = "toolkit.convert.imported.worker"
_LIMITS = ResourceLimits(memory_bytes=32 << 30)
"""Of address space, of which TensorFlow reserves much more than it uses."""
_DTYPES: dict[str, Any] = {"f32": np.float32, "f16": np.float16, "u8": np.uint8, "i8": np.int8}


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """What a file holds and says."""

    graph: ov.Model
    format: str
    digest: str
    digests: dict[str, str]
    facts: FileFacts
    input_scale: IntegerScale | None
    output_scale: IntegerScale | None


class ModelReader:
    """A confined worker that has one model file open; nothing of the file is parsed in this process."""

    def __init__(self, path: Path, size: tuple[int, int] | None = None, signature: str = "") -> None:
        self._file = path.parent if path.name == "saved_model.pb" else path
        self._arguments: dict[str, Any] = {"path": str(self._file.absolute()), "size": size, "signature": signature}
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        kind = format_of(self._file)
        with contextlib.ExitStack() as stack:
            self._out = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="toolkit-import-")))
            reads = [self._file.parent if kind in {"onnx", "openvino"} else self._file]
            sandbox = Sandbox(reads=reads, writes=[self._out], limits=_LIMITS, where=str(self._file))
            self._sandbox = stack.enter_context(sandbox)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def inspect(self) -> Inspected:
        """The graph with input and output as they are, and what the file says of itself."""
        import openvino as ov

        described = self._sandbox.call(f"{_WORKER}:inspect", **self._arguments, out=str(self._out))
        return Inspected(
            graph=ov.Core().read_model(self._out / "graph.xml"),
            format=str(described["format"]),
            digest=str(described["digest"]),
            digests=dict(described["digests"]),
            facts=_facts(described["facts"]),
            input_scale=_scale(described["scales"][0]),
            output_scale=_scale(described["scales"][1]),
        )

    def answers(self, chunks: Iterable[Images], imported: ImportedModel) -> npt.NDArray[np.float32]:
        """The raw answers of the format's own runtime, as numbers, f32 [n, classes], to u8 [n,H,W,3] images."""
        return np.stack([_as_numbers(row, imported) for chunk in chunks for row in self._rows(chunk, imported)])

    def _rows(self, chunk: Images, imported: ImportedModel) -> Iterator[npt.NDArray[Any]]:
        size = list(chunk.shape[1:3])
        for start in range(0, len(chunk), 16):
            inputs = as_model_input(chunk[start : start + 16], imported)
            yield from self._sandbox.call(f"{_WORKER}:answer", **self._arguments | {"size": size}, inputs=inputs)


@dataclass(frozen=True, slots=True)
class ImportedGraph:
    """The copy of an imported file in the workspace."""

    path: Path
    imported: ImportedModel
    size: tuple[int, int]

    @classmethod
    def of(cls, model: TrainedModel, workspace: Workspace) -> ImportedGraph:
        """Return the imported graph that `model` was made from."""
        if model.imported is None:
            raise ValueError(f"{model.digest} was trained here")
        return cls(workspace.absolute(model.path), model.imported, model.input_size)

    def trace(self) -> ov.Model:
        """The graph with a u8 NHWC RGB image as its input and probabilities as its output."""
        with self._reader() as reader:
            graph = reader.inspect().graph
        return adapt(graph, io_adapters.InputSpec(self.imported.dtype, self.imported.layout, self.size), self.imported)

    def predict(self, chunks: Iterable[Images]) -> Probabilities:
        """The probabilities of the format's own runtime, f32 [n, classes], for u8 [n,H,W,3] images."""
        with self._reader() as reader:
            return as_probabilities(reader.answers(chunks, self.imported), self.imported.output)

    def _reader(self) -> ModelReader:
        return ModelReader(self.path, self.size, self.imported.signature)


def adapt(graph: ov.Model, spec: io_adapters.InputSpec, imported: ImportedModel) -> ov.Model:
    """A file's graph with a u8 NHWC RGB image as its input and probabilities as its output."""
    io_adapters.fix_shape(graph, spec)
    return io_adapters.add_probability_output(io_adapters.add_preprocessing(graph, spec, imported), imported)


def as_model_input(images: Images, imported: ImportedModel) -> npt.NDArray[Any]:
    """u8 [n,H,W,3] RGB images as the model's own input, [n,…]: color, scaling, quantization, layout and type."""
    colored = images[..., ::-1] if imported.color == "BGR" else images
    values = (colored.astype(np.float32) - np.array(imported.mean, np.float32)) / np.array(imported.std, np.float32)
    if imported.input_scale is not None:
        steps = np.round(values / np.float32(imported.input_scale) + np.float32(imported.input_zero_point))
        values = np.clip(steps, *io_adapters.RANGES[imported.dtype])
    turned = values if imported.layout == "NHWC" else values.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(turned, dtype=_DTYPES[imported.dtype])


def as_probabilities(answers: npt.NDArray[np.float32], output: str) -> Probabilities:
    """Raw answers, f32 [n, classes], as probabilities."""
    if output != output_kind.LOGITS:
        return answers
    if answers.shape[1] == 1:
        return np.asarray(1 / (1 + np.exp(-answers)), dtype=np.float32)
    raised = np.exp(answers - answers.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True), dtype=np.float32)


def _as_numbers(row: npt.NDArray[Any], imported: ImportedModel) -> npt.NDArray[np.float32]:
    values = row.astype(np.float32)
    if imported.output_scale is None:
        return values
    return np.asarray((values - imported.output_zero_point) * np.float32(imported.output_scale), np.float32)


def _scale(described: Any) -> IntegerScale | None:
    return None if described is None else IntegerScale(float(described[0]), int(described[1]))


def _facts(described: dict[str, Any]) -> FileFacts:
    scaling = described["scaling"]
    return FileFacts(
        labels=None if described["labels"] is None else tuple(described["labels"]),
        scaling=None
        if scaling is None
        else PixelScaling(tuple(scaling["mean"]), tuple(scaling["std"]), scaling["color"]),
        color=described["color"],
        size=None if described["size"] is None else tuple(described["size"]),
        crop=described["crop"],
        source=described["source"],
    )
