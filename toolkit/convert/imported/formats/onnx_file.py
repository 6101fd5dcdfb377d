"""ONNX models, with external weight files, and with the final ZipMap of classifiers from scikit-learn and Custom Vision."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from toolkit.convert.imported.file_facts import FileFacts, facts_of_metadata
from toolkit.convert.imported.formats.frontend import read_graph
from toolkit.convert.imported.formats.model_file import ModelFile, Numbers, Runtime, damaged, one_at_a_time
from toolkit.errors import DataError

if TYPE_CHECKING:
    import openvino as ov

_FLOATS = {1, 10, 11, 16}
"""TensorProto's FLOAT, FLOAT16, DOUBLE and BFLOAT16."""


@dataclass(frozen=True)
class OnnxFile(ModelFile):
    """An .onnx file; ONNX Runtime gives the reference answers."""

    format: ClassVar[str] = "onnx"
    runtime_name: ClassVar[str] = "ONNX Runtime"
    usual_layout: ClassVar[str] = "NCHW"

    @cached_property
    def _proto(self) -> Any:
        """The parsed file, without weights that lie elsewhere."""
        import onnx

        try:
            model = onnx.load(str(self.path), load_external_data=False)
        except Exception as error:
            raise damaged(self.path, str(error)) from error
        if not model.graph.node or not model.graph.output:
            raise damaged(self.path, "it holds no graph")
        return model

    @cached_property
    def _zipmap(self) -> Any | None:
        """The ZipMap node that makes one of the outputs, if there is one."""
        outputs = {output.name for output in self._proto.graph.output}
        nodes = (node for node in self._proto.graph.node if node.op_type == "ZipMap" and outputs & set(node.output))
        return next(nodes, None)

    @cached_property
    def _output(self) -> str | None:
        """The output with the scores, where others lie beside it or a ZipMap follows; None for the only output."""
        if self._zipmap is not None:
            return str(self._zipmap.input[0])
        outputs = self._proto.graph.output
        floats = [output.name for output in outputs if output.type.tensor_type.elem_type in _FLOATS]
        return str(floats[0]) if len(outputs) > 1 and len(floats) == 1 else None

    def graph(self) -> ov.Model:
        """The graph up to the scores."""
        if self._output is None:
            self.side_files()
            return read_graph("onnx", self.path, self.path)
        with tempfile.TemporaryDirectory(prefix="onnx-") as folder:
            return read_graph("onnx", self._up_to_the_scores(Path(folder)), self.path)

    def _up_to_the_scores(self, folder: Path) -> Path:
        """A copy whose only output is the scores, without the operations that nothing needs then."""
        import onnx

        self.side_files()
        model = onnx.load(str(self.path))
        needed = _needed(model.graph, [str(self._output)])
        nodes = [node for node in model.graph.node if set(node.output) & needed]
        del model.graph.node[:], model.graph.output[:]
        model.graph.node.extend(nodes)
        model.graph.output.append(onnx.helper.make_tensor_value_info(str(self._output), onnx.TensorProto.FLOAT, None))
        onnx.save(model, str(folder / "scores.onnx"))
        return folder / "scores.onnx"

    def runtime(self) -> Runtime:
        """ONNX Runtime on the file as it is."""
        import onnxruntime

        onnxruntime.disable_telemetry_events()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(str(self.path), options, providers=["CPUExecutionProvider"])
        taken = session.get_inputs()[0]
        output_name = (
            self._zipmap.output[0] if self._zipmap is not None else self._output or session.get_outputs()[0].name
        )

        def run(images: Numbers) -> Numbers:
            (answer,) = session.run([output_name], {taken.name: images})
            if self._zipmap is not None:
                return np.array([[row[label] for label in self._classes] for row in answer], np.float32)
            return np.asarray(answer)

        return one_at_a_time(run, taken.shape[0])

    @property
    def _classes(self) -> list[Any]:
        """The keys of the ZipMap's answers, in the order of the scores."""
        attributes = (
            {attribute.name: attribute for attribute in self._zipmap.attribute} if self._zipmap is not None else {}
        )
        texts = attributes["classlabels_strings"].strings if "classlabels_strings" in attributes else []
        return [text.decode() for text in texts] or list(attributes["classlabels_int64s"].ints if attributes else [])

    def facts(self) -> FileFacts:
        """Labels of the ZipMap, and the metadata."""
        facts = facts_of_metadata({entry.key: entry.value for entry in self._proto.metadata_props})
        labels = [label for label in self._classes if isinstance(label, str)]
        return FileFacts(
            labels=tuple(labels) or facts.labels, scaling=facts.scaling, color=facts.color, source=facts.source
        )

    def side_files(self) -> tuple[str, ...]:
        """The files with weights, which the .onnx file names by paths relative to its own.

        Raises:
            DataError: one of them is missing, or lies outside the model's folder.
        """
        names = sorted({name for tensor in _tensors(self._proto) if (name := _location(tensor))})
        for name in names:
            _check_side_file(self.path, name)
        return tuple(names)


def _check_side_file(path: Path, name: str) -> None:
    inside = PurePosixPath(name)
    if inside.is_absolute() or ".." in inside.parts:
        raise DataError(
            f"names a file with weights outside its folder: {name}", where=str(path), remedy="do not use it"
        )
    file = path.parent / name
    if not file.is_file():
        raise DataError(
            f"keeps its weights in {name}, which is missing",
            where=str(path),
            remedy=f"copy {name} to {file.parent}",
        )
    if file.is_symlink() or not file.resolve().is_relative_to(path.parent.resolve()):
        raise DataError(
            "is a link, which may lead out of the model's folder", where=str(file), remedy="copy the file there"
        )


def _location(tensor: Any) -> str:
    if tensor.data_location != 1:  # TensorProto.EXTERNAL
        return ""
    return next((entry.value for entry in tensor.external_data if entry.key == "location"), "")


def _tensors(model: Any) -> Iterator[Any]:
    """Every tensor that a model stores, in whatever place."""
    for graph in _graphs(model.graph, model.functions):
        yield from getattr(graph, "initializer", ())
        for sparse in getattr(graph, "sparse_initializer", ()):
            yield from (sparse.values, sparse.indices)
        for node in graph.node:
            for attribute in node.attribute:
                yield from (*attribute.tensors, *([attribute.t] if attribute.HasField("t") else []))


def _graphs(graph: Any, others: Iterable[Any] = ()) -> Iterator[Any]:
    """A graph or function, and the graphs in the attributes of its nodes."""
    for each in (graph, *others):
        yield each
        for node in each.node:
            for attribute in node.attribute:
                for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                    yield from _graphs(inner)


def _needed(graph: Any, outputs: Iterable[str]) -> set[str]:
    """The names of all values that some outputs are computed from."""
    makers = {name: node for node in graph.node for name in node.output}
    needed: set[str] = set()
    waiting = list(outputs)
    while waiting:
        name = waiting.pop()
        if name in needed:
            continue
        needed.add(name)
        if name in makers:
            waiting += makers[name].input
            inner = (a.g for a in makers[name].attribute if a.HasField("g"))
            waiting += [each for body in inner for part in _graphs(body) for node in part.node for each in node.input]
    return needed
