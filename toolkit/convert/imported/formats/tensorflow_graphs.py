"""TensorFlow graphs from a SavedModel or a frozen .pb file, reduced to one signature of known operations.

    SavedModel ─parse─▶ one signature ─check every operation─▶ insert the values of the checkpoint ─▶ frozen graph

`tf.saved_model.load` would run the file's initializers, which may read and write files. Only the operations between the
signature's input and output run here, and each must be on ALLOWED, the list of operations that only compute.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from toolkit.convert.imported.formats.allowed_operations import ALLOWED
from toolkit.convert.imported.formats.model_file import damaged
from toolkit.errors import DataError, Problem, UsageError
from toolkit.networks.tf_runtime import start_tensorflow

DEFAULT_SIGNATURE = "serving_default"

_CALLS = {"PartitionedCall", "StatefulPartitionedCall"}
_VARIABLES_OF_TF1 = {"Variable", "VariableV2"}


@dataclass(frozen=True, slots=True)
class FrozenGraph:
    """A GraphDef whose weights are constants, with the names of its one input and its output ("image:0")."""

    graph: Any
    input: str
    output: str

    def runtime(self) -> tuple[Callable[[npt.NDArray[Any]], npt.NDArray[Any]], tuple[int | None, ...]]:
        """TensorFlow's own answers, [n,…] to [n,…], and the input's shape."""
        tf = start_tensorflow()
        wrapped = tf.compat.v1.wrap_function(lambda: tf.compat.v1.import_graph_def(self.graph, name=""), [])
        function = wrapped.prune(
            wrapped.graph.as_graph_element(self.input), wrapped.graph.as_graph_element(self.output)
        )
        shape = wrapped.graph.as_graph_element(self.input).shape
        sides = tuple(shape.as_list()) if shape.rank is not None else ()
        return lambda images: np.asarray(function(tf.constant(images))), sides


def read_frozen(path: Path) -> FrozenGraph:
    """The frozen graph in a .pb file: one placeholder, and the one operation that nothing else reads.

    Raises:
        DataError: it is damaged, has variables, has several inputs or outputs, or operations that are not allowed.
    """
    graph = start_tensorflow().compat.v1.GraphDef()
    _parse(graph, path)
    variables = [node.name for node in graph.node if node.op in {"VarHandleOp", *_VARIABLES_OF_TF1}]
    if variables:
        raise DataError(
            f"is not frozen: its weights are in variables ({', '.join(variables[:3])}), which the file does not hold",
            where=str(path),
            remedy="freeze it with tf.compat.v1.graph_util.convert_variables_to_constants, or export a SavedModel",
        )
    inputs = [node.name for node in graph.node if node.op == "Placeholder"]
    read = {_node_of(name) for node in graph.node for name in node.input}
    outputs = [
        node.name for node in graph.node if node.name not in read and node.op not in {"NoOp", "Const", "Placeholder"}
    ]
    problems = [
        Problem(
            f"has {len(names)} {kind}: {', '.join(names[:8])}", str(path), f"freeze it with one of the {kind} alone"
        )
        for names, kind in ((inputs, "inputs"), (outputs, "outputs"))
        if len(names) != 1
    ]
    if problems:
        raise DataError.from_problems(problems)
    pruned = _pruned(graph, [outputs[0]])
    _check_operations(pruned, path)
    return FrozenGraph(pruned, f"{inputs[0]}:0", f"{outputs[0]}:0")


def read_saved_model(path: Path, signature: str | None) -> FrozenGraph:
    """One signature of the SavedModel in the folder `path`, with the checkpoint's values as constants.

    Raises:
        UsageError: there is no such signature, or several to choose from; names them.
        DataError: it is damaged, or holds operations that are not allowed.
    """
    meta = _meta_graph(path)
    chosen = _signature(meta, signature, path)
    (taken,), (output_port,) = chosen.inputs.values(), chosen.outputs.values()
    graph = _pruned(meta.graph_def, [_node_of(output_port.name), _node_of(taken.name)])
    _check_operations(graph, path)
    values = _variable_values(graph, meta, path)
    return FrozenGraph(_with_values(graph, values, _node_of(output_port.name)), taken.name, output_port.name)


def signatures_of(meta: Any) -> list[str]:
    """The signatures that can be called, without what TensorFlow keeps for itself."""
    return sorted(name for name, one in meta.signature_def.items() if not name.startswith("__") and one.inputs)


def _meta_graph(path: Path) -> Any:
    start_tensorflow()
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel()
    _parse(saved, path / "saved_model.pb")
    serving = [meta for meta in saved.meta_graphs if "serve" in meta.meta_info_def.tags] or list(saved.meta_graphs)
    if not serving:
        raise DataError("cannot be read: contains no graph", where=str(path), remedy="copy the complete file again")
    return serving[0]


def _parse(message: Any, path: Path) -> None:
    try:
        message.ParseFromString(path.read_bytes())
    except Exception as error:
        raise damaged(path, str(error)) from error


def _signature(meta: Any, expected: str | None, path: Path) -> Any:
    names = signatures_of(meta)
    name = expected or (DEFAULT_SIGNATURE if DEFAULT_SIGNATURE in names else names[0] if len(names) == 1 else None)
    if name is None or name not in names:
        what = f"has no signature {expected!r}" if expected else f"has no signature {DEFAULT_SIGNATURE!r}"
        remedy = f"choose one with --signature: {', '.join(names)}" if names else "export it with a serving signature"
        raise UsageError(what, where=str(path), remedy=remedy)
    chosen = meta.signature_def[name]
    problems = [
        Problem(
            f"signature {name} has {len(ports)} {kind}: {', '.join(sorted(ports))}",
            str(path),
            f"export it with one of the {kind}",
        )
        for ports, kind in ((chosen.inputs, "inputs"), (chosen.outputs, "outputs"))
        if len(ports) != 1
    ]
    if problems:
        raise DataError.from_problems(problems)
    return chosen


def _pruned(graph: Any, outputs: Iterable[str]) -> Any:
    """The part of a GraphDef that its outputs need: nodes, and the functions that those call."""
    by_name = {node.name: node for node in graph.node}
    needed = _closure(outputs, lambda name: [_node_of(each) for each in by_name[name].input] if name in by_name else [])
    functions = {function.signature.name: function for function in graph.library.function}
    called = _closure(
        {name for each in needed if each in by_name for name in _called(by_name[each])},
        lambda name: [each for node in functions[name].node_def for each in _called(node)] if name in functions else [],
    )
    part = type(graph)()
    part.versions.CopyFrom(graph.versions)
    part.node.extend(node for node in graph.node if node.name in needed)
    part.library.function.extend(function for name, function in functions.items() if name in called)
    return part


def _closure(start: Iterable[str], following: Callable[[str], Iterable[str]]) -> set[str]:
    reached: set[str] = set()
    waiting = list(start)
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting.extend(following(name))
    return reached


def _called(node: Any) -> Iterator[str]:
    for attribute in node.attr.values():
        if attribute.HasField("func"):
            yield attribute.func.name
        yield from (each.name for each in attribute.list.func)


def _node_of(name: str) -> str:
    return name.removeprefix("^").partition(":")[0]


def _check_operations(graph: Any, path: Path) -> None:
    """Refuse every operation that is not on the list, by name."""
    bodies = [graph.node, *(function.node_def for function in graph.library.function)]
    library = {function.signature.name for function in graph.library.function}
    result = {node.op: node.name for body in bodies for node in body if node.op not in ALLOWED | library}
    remedy = "export the model without it, or as ONNX"
    problems = [
        Problem(f"operation {kind} is not one of those that only compute, so it is not run", f"{path}: {name}", remedy)
        for kind, name in sorted(result.items())
    ]
    if problems:
        raise DataError.from_problems(problems)


def _variable_values(graph: Any, meta: Any, path: Path) -> dict[str, npt.NDArray[Any]]:
    """What each VarHandleOp node of `graph` holds, out of the checkpoint."""
    handles = [node for node in graph.node if node.op == "VarHandleOp"]
    if not handles:
        return {}
    tf = start_tensorflow()
    try:
        reader = tf.train.load_checkpoint(str(path / "variables" / "variables"))
        keys = _checkpoint_keys(graph, meta, reader)
        values = {}
        for node in handles:
            key = keys.get(node.name, node.attr["shared_name"].s.decode())
            values[node.name] = reader.get_tensor(key)
    except (tf.errors.OpError, ValueError, RuntimeError) as error:
        what = str(error).strip().splitlines()[0][:200]
        raise DataError(
            f"cannot be read: its weights: {what}", where=str(path), remedy="copy the complete file again"
        ) from None
    return values


def _checkpoint_keys(graph: Any, meta: Any, reader: Any) -> dict[str, str]:
    """The checkpoint's key of each VarHandleOp node.

    TensorFlow 2 numbers the objects of the SavedModel and of its checkpoint alike, and says of each function which objects
    its captured inputs are. A node that no function captures is known by its shared name. TensorFlow 1 has no objects; its
    keys are the variables' names.
    """
    if not reader.has_tensor("_CHECKPOINTABLE_OBJECT_GRAPH"):
        return {}
    from tensorflow.core.protobuf import trackable_object_graph_pb2

    objects = trackable_object_graph_pb2.TrackableObjectGraph()
    objects.ParseFromString(reader.get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH"))
    attributes = {number: list(node.attributes) for number, node in enumerate(objects.nodes)}
    by_name = {each.full_name: each.checkpoint_key for result in attributes.values() for each in result}
    handles = {node.name: node for node in graph.node if node.op == "VarHandleOp"}
    keys = {
        name: by_name[shared]
        for name, node in handles.items()
        if (shared := node.attr["shared_name"].s.decode()) in by_name
    }
    concrete = meta.object_graph_def.concrete_functions
    for call in (node for node in graph.node if node.op in _CALLS):
        name = call.attr["f"].func.name
        captured = list(concrete[name].bound_inputs) if name in concrete else []
        for source, number in zip(
            [_node_of(each) for each in call.input][-len(captured) :] if captured else [], captured, strict=True
        ):
            if source in handles and len(attributes.get(number, [])) == 1:
                keys[source] = attributes[number][0].checkpoint_key
    return keys


def _with_values(graph: Any, values: dict[str, npt.NDArray[Any]], output: str) -> Any:
    """The graph with constants in place of its variables."""
    tf = start_tensorflow()
    from tensorflow.python.framework import convert_to_constants

    present = {node.name for node in graph.node}
    for node in [node for node in graph.node if node.op == "VarHandleOp"]:
        node.attr["shared_name"].s = node.name.encode()
        if f"{node.name}/Read/ReadVariableOp" not in present:  # by which the conversion asks for a variable's value
            read = graph.node.add(name=f"{node.name}/Read/ReadVariableOp", op="ReadVariableOp", input=[node.name])
            read.attr["dtype"].CopyFrom(node.attr["dtype"])
    plain = tf.Graph()
    with plain.as_default(), tf.compat.v1.Session(graph=plain) as session:
        tf.compat.v1.import_graph_def(graph, name="")
        for name, value in values.items():
            handle = plain.get_tensor_by_name(f"{name}:0")
            session.run(tf.raw_ops.AssignVariableOp(resource=handle, value=value))
        return convert_to_constants.convert_variables_to_constants_from_session_graph(session, graph, [output])
