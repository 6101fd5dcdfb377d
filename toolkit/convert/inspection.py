"""Inspect a converted model: parameters and multiply-adds per operation, opsets, precision, savings by depthwise separation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

from toolkit.system.sandbox import Sandbox

_WEIGHTED = {"Convolution", "GroupConvolution", "MatMul", "ConvolutionBackpropData", "GroupConvolutionBackpropData"}
_PASSED_THROUGH = {"Add", "Multiply", "Clamp", "Relu", "HSwish", "Swish", "Elu", "PRelu", "Convert", "FakeQuantize"}


@dataclass(frozen=True, slots=True, kw_only=True)
class IrOperation:
    """One operation that is not a constant."""

    name: str
    kind: str
    opset: str
    shape: tuple[int, ...]
    """Of its first output."""
    parameters: int
    """Elements of its floating-point constants."""
    multiply_adds: int
    """Of convolutions and matrix products, for one image: elements of the weights times output positions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """A whole model."""

    operations: tuple[IrOperation, ...]
    parameters: int
    multiply_adds: int
    opsets: Mapping[str, int]
    """How many operations of each opset."""
    weight_types: Mapping[str, int]
    """Elements of floating-point constants per element type."""
    depthwise_saving: float | None
    """How many times more multiply-adds the network would need with plain convolutions in place of its depthwise
    separable ones; None if it has none."""


def inspect_ir(path: Path) -> Inspection:
    """Read the IR at `path` (.xml) in a confined worker, and count. An image's size is the one it was converted with.

    Raises:
        SandboxError: it cannot be read.
    """
    with Sandbox([path, path.with_suffix(".bin")] if path.with_suffix(".bin").exists() else [path]) as sandbox:
        counts = sandbox.call("toolkit.convert.inspection:inspect_here", path=path.absolute())
    operations = tuple(IrOperation(**one | {"shape": tuple(one["shape"])}) for one in counts["operations"])
    return Inspection(**counts | {"operations": operations})


def inspect_here(path: str) -> dict[str, Any]:
    """What `inspect_ir` runs in the worker; the fields of an `Inspection`."""
    return asdict(_inspect(Path(path)))


def _inspect(path: Path) -> Inspection:
    import openvino as ov

    model = ov.Core().read_model(path)
    nodes = [node for node in model.get_ordered_ops() if node.get_type_name() != "Constant"]
    operations = tuple(_operation(node) for node in nodes)
    total = sum(operation.multiply_adds for operation in operations)
    extra = sum(_extra_if_plain(node) for node in nodes)
    return Inspection(
        operations=operations,
        parameters=sum(operation.parameters for operation in operations),
        multiply_adds=total,
        opsets=dict(Counter(operation.opset for operation in operations)),
        weight_types=_weight_types(model),
        depthwise_saving=(total + extra) / total if extra else None,
    )


def _operation(node: Any) -> IrOperation:
    constants = [prod(constant.shape) for constant in _constants(node)]
    shape = tuple(node.get_output_shape(0)) if node.get_output_size() else ()
    return IrOperation(
        name=node.get_friendly_name(),
        kind=node.get_type_name(),
        opset=node.get_type_info().version_id,
        shape=shape,
        parameters=sum(constants),
        multiply_adds=_multiply_adds(node, shape),
    )


def _constants(node: Any) -> Iterator[Any]:
    """The floating-point constants among a node's inputs; those stored in FP16 come through a Convert."""
    if node.get_type_name() == "Convert":
        return
    for port in range(node.get_input_size()):
        source = node.input_value(port).get_node()
        if source.get_type_name() == "Convert":
            source = source.input_value(0).get_node()
        if source.get_type_name() == "Constant" and source.get_element_type().is_real():
            yield source


def _multiply_adds(node: Any, shape: tuple[int, ...]) -> int:
    if node.get_type_name() not in _WEIGHTED:
        return 0
    positions = prod(shape[2:]) if "Convolution" in node.get_type_name() else prod(shape[:-1])
    return int(prod(node.get_input_shape(1)) * positions)


def _weight_types(model: Any) -> Mapping[str, int]:
    result: Counter[str] = Counter()
    for node in model.get_ops():
        if node.get_type_name() == "Constant" and node.get_element_type().is_real():
            result[node.get_element_type().get_type_name()] += prod(node.shape)
    return dict(result)


def _extra_if_plain(node: Any) -> int:
    """What a plain k x k convolution would cost beyond this depthwise one and the 1 x 1 convolution after it, if it is one."""
    if node.get_type_name() != "GroupConvolution":
        return 0
    groups, out_each, in_each, *kernel = node.get_input_shape(1)
    follower = _pointwise_after(node)
    if (out_each, in_each) != (1, 1) or follower is None:
        return 0
    filters = follower.get_input_shape(1)[0]
    positions = prod(follower.get_output_shape(0)[2:])
    plain = prod(kernel) * groups * filters * positions
    return int(
        plain - _multiply_adds(node, node.get_output_shape(0)) - _multiply_adds(follower, follower.get_output_shape(0))
    )


def _pointwise_after(node: Any) -> Any | None:
    """The 1 x 1 convolution that reads this one's result, with nothing between but biases and activations."""
    while True:
        readers = [target.get_node() for target in node.output(0).get_target_inputs()]
        if len(readers) != 1:
            return None
        (node,) = readers
        if node.get_type_name() == "Convolution":
            return node if tuple(node.get_input_shape(1)[2:]) == (1, 1) else None
        if node.get_type_name() not in _PASSED_THROUGH:
            return None
