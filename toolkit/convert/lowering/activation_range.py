"""Find layers whose outputs would exceed FP16's range, measured in float32 on images.

A runtime that computes in FP16 turns magnitudes beyond 65,504 into infinity, which no check on a CPU detects. Therefore the
largest magnitude of every layer's output is measured on the calibration and test images. A layer beyond half of the range is
refused, because other images may give larger values.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from toolkit.convert import parity
from toolkit.convert.lowering.fp16_range import LARGEST
from toolkit.convert.parity import Images
from toolkit.errors import ConversionError, Problem

if TYPE_CHECKING:
    import openvino as ov

MARGIN = 2.0
"""Other images may reach this many times as high as those measured."""
_LEFT_OUT = {"Constant", "Parameter", "Result"}
_FUSED = {
    "Add",
    "Subtract",
    "Multiply",
    "Divide",
    "Relu",
    "Clamp",
    "PRelu",
    "Elu",
    "Sigmoid",
    "Tanh",
    "HSwish",
    "Swish",
}
"""Operations that compilers compute together with the layer before them."""
_REMEDY = (
    "use batch normalization or a smaller input scaling in the model, or convert it with --precision fp32 for a CPU"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRange:
    """The largest magnitude of one layer's output."""

    name: str
    kind: str
    largest: float
    fused_into: str = ""
    """The later layer in whose output the magnitude is within range again, if only fused operations lie between."""


def measure(model: ov.Model, images: Images) -> tuple[LayerRange, ...]:
    """The range of each layer of a float32 model, in the network's order, on u8 [n,H,W,3] images."""
    probed, names = _with_probes(model)
    compiled = parity.compile_model(probed)
    shape = model.input(0).get_shape()
    request = compiled.create_infer_request()
    largest = np.zeros(len(names))
    for image in images:
        request.infer([parity.in_model_layout(image, shape)])
        values = np.array([float(request.get_output_tensor(index).data) for index in range(len(names))])
        largest = np.maximum(largest, np.where(np.isnan(values), np.inf, values))
    match = dict(zip(names, largest.tolist(), strict=True))
    nodes = [node for node in model.get_ordered_ops() if node.get_friendly_name() in match]
    return tuple(
        LayerRange(
            name=node.get_friendly_name(),
            kind=node.get_type_name(),
            largest=match[node.get_friendly_name()],
            fused_into=_fused_into(node, match),
        )
        for node in nodes
    )


def refuse_overflow(ranges: Sequence[LayerRange]) -> None:
    """Check that every layer stays within FP16's range, with a margin.

    Raises:
        ConversionError: naming each layer that does not.
    """
    problems = [_problem(layer) for layer in ranges if layer.largest * MARGIN > LARGEST]
    if problems:
        raise ConversionError.from_problems(problems)


def _problem(layer: LayerRange) -> Problem:
    beyond = layer.largest > LARGEST
    what = f"the output of this {layer.kind} reaches {layer.largest:.3g} on the test images, " + (
        f"beyond FP16's largest number, {LARGEST:,.0f}" if beyond else f"too near to FP16's largest, {LARGEST:,.0f}"
    )
    if layer.fused_into:
        what += f"; it is within range again at {layer.fused_into}, and a compiler that fuses both may compute it right"
    return Problem(what, layer.name, _REMEDY)


def _with_probes(model: ov.Model) -> tuple[ov.Model, list[str]]:
    """A copy whose outputs are the largest magnitudes of the layers, and the layers' names."""
    import openvino as ov
    from openvino import opset1

    copy = model.clone()
    results, names = [], []
    for node in _layers(copy):
        output = node.output(0)
        axes = opset1.constant(np.arange(len(output.get_partial_shape()), dtype=np.int64))
        size = opset1.absolute(output)
        results.append(opset1.result(opset1.reduce_max(size, axes, keep_dims=False) if axes.data.size else size))
        names.append(node.get_friendly_name())
    return ov.Model(results, copy.get_parameters(), "ranges"), names


def _layers(model: ov.Model) -> Iterator[Any]:
    """Every operation on numbers that depend on the image."""
    dependent: set[str] = set()
    for node in model.get_ordered_ops():
        name, kind = node.get_friendly_name(), node.get_type_name()
        if kind == "Parameter" or any(
            value.get_node().get_friendly_name() in dependent for value in node.input_values()
        ):
            dependent.add(name)
            if kind not in _LEFT_OUT and node.get_output_element_type(0).get_type_name() == "f32":
                yield node


def _fused_into(node: Any, largest: dict[str, float]) -> str:
    if largest[node.get_friendly_name()] * MARGIN <= LARGEST:
        return ""
    while True:
        readers = [target.get_node() for target in node.output(0).get_target_inputs()]
        if len(readers) != 1 or readers[0].get_type_name() not in _FUSED:
            return ""
        (node,) = readers
        if largest.get(node.get_friendly_name(), np.inf) * MARGIN <= LARGEST:
            return str(node.get_friendly_name())
