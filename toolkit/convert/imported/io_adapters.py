"""Input and output of an imported model, adapted to those of every bundle.

u8 [1,H,W,3] RGB ─color, scaling, layout, type▶ the model's own input … its own output ─type, shape, softmax▶ probabilities
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from toolkit.artifacts.model import ImportedModel
from toolkit.errors import DataError, Problem

if TYPE_CHECKING:
    import openvino as ov

FLOATS = {"f32", "f16"}
RANGES = {"u8": (0, 255), "i8": (-128, 127)}
"""The integer types that an input may have, each with its smallest and largest number."""


@dataclass(frozen=True, slots=True)
class InputSpec:
    """What a model takes: one RGB or BGR image in this type, layout and size."""

    dtype: str
    """"f32", "f16", "u8" or "i8"."""
    layout: str
    """"NHWC" or "NCHW"."""
    size: tuple[int, int]
    """Height and width in pixels."""


def infer_input_spec(graph: ov.Model, layout: str | None, size: tuple[int, int] | None, usual: str) -> InputSpec:
    """What `graph` takes; `layout` and `size` are what the user says, `usual` is the layout where nothing else tells.

    Raises:
        DataError: it is not one image of three channels and a known size, or the user says otherwise; every problem.
    """
    _only_one(graph)
    (port,) = graph.inputs
    name, shape = name_of(port), port.partial_shape
    if shape.rank.is_dynamic or len(shape) != 4:
        raise DataError(f"takes {shape}, not an image with four axes", where=name)
    sides = [None if side.is_dynamic else side.get_length() for side in shape]
    kind = port.element_type.get_type_name()
    axes = layout or _layout(sides, usual)
    channels, *space = (sides[axis] for axis in ((3, 1, 2) if axes == "NHWC" else (1, 2, 3)))
    problems = [*_type_problems(name, kind), *_channel_problems(name, shape, channels, axes)]
    if None in space and size is None:
        problems.append(Problem(f"takes images of any size ({shape})", name, "choose one: --input-size HEIGHTxWIDTH"))
    if size is not None and any(side not in {None, expected} for side, expected in zip(space, size, strict=True)):
        problems.append(Problem(f"takes {shape}, not images of {size[0]} x {size[1]}", name, "leave --input-size out"))
    if problems:
        raise DataError.from_problems(problems)
    height, width = size or space
    return InputSpec(kind, axes, (int(height or 0), int(width or 0)))


def classes_of(graph: ov.Model) -> int:
    """How many numbers `graph`, whose batch is 1, gives for an image.

    Raises:
        DataError: it is not one row.
    """
    (port,) = graph.outputs
    shape = port.partial_shape
    if shape.is_dynamic or prod(shape.to_shape()[1:]) != max(shape.to_shape()[1:], default=0) or len(shape) < 2:
        remedy = "use a complete classifier, with its pooling and last layer"
        raise DataError(f"returns {shape}, not one row of numbers per image", where=name_of(port), remedy=remedy)
    return int(prod(shape.to_shape()[1:]))


def fix_shape(graph: ov.Model, entry: InputSpec) -> None:
    """Make the graph take one image of the entry's size at a time.

    Raises:
        DataError: something inside does not allow it.
    """
    height, width = entry.size
    shape = [1, height, width, 3] if entry.layout == "NHWC" else [1, 3, height, width]
    try:
        graph.reshape({graph.input(0): shape})
    except RuntimeError as error:
        why = str(error).strip().splitlines()[-1]
        raise DataError(f"cannot take one image at a time: {why}", remedy="export it with a free batch size") from None
    port = graph.output(0).partial_shape
    if port.rank.is_static and len(port) > 0 and port[0].is_static and port[0].get_length() != 1:
        what = f"cannot take one image at a time: given one, it returns {port}, since its batch size is fixed inside"
        raise DataError(what, remedy="export it with a free batch size")


def add_preprocessing(graph: ov.Model, spec: InputSpec, imported: ImportedModel) -> ov.Model:
    """`graph` with the input u8 NHWC [1,H,W,3] RGB; color, scaling, quantization, layout and type are inside."""
    import openvino as ov
    from openvino.preprocess import ColorFormat, PrePostProcessor

    builder = PrePostProcessor(graph)
    builder.input().tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC")).set_color_format(
        ColorFormat.RGB
    )
    steps = builder.input().preprocess()
    if spec.dtype != "u8" or imported.input_scale is not None:
        steps.convert_element_type(ov.Type.f32)
    if imported.color == "BGR":
        steps.convert_color(ColorFormat.BGR)
    if any(imported.mean):
        steps.mean(list(imported.mean))
    if any(each != 1 for each in imported.std):
        steps.scale(list(imported.std))
    if imported.input_scale is not None:
        steps.custom(_quantize(imported))
    steps.convert_element_type(graph.input(0).element_type)
    builder.input().model().set_layout(ov.Layout(spec.layout))
    return builder.build()


def _quantize(imported: ImportedModel) -> Callable[[Any], Any]:
    """Floats as the integers of the file's own scale and zero point, rounded and kept in the type's range."""
    from openvino import opset5

    scale, zero_point, (low, high) = imported.input_scale, imported.input_zero_point, RANGES[imported.dtype]

    def apply(value: Any) -> Any:
        steps = opset5.divide(value, opset5.constant(np.float32(scale)))
        moved = opset5.add(steps, opset5.constant(np.float32(zero_point)))
        return opset5.clamp(opset5.round(moved, "half_to_even"), float(low), float(high)).output(0)

    return apply


def add_probability_output(graph: ov.Model, imported: ImportedModel) -> ov.Model:
    """`graph` with the output f32 [1,n]: dequantized, flattened, and of logits a softmax (a sigmoid for one number)."""
    import openvino as ov
    from openvino import opset1

    end = graph.get_results()[0].input_value(0)
    count = classes_of(graph)
    if end.get_element_type() != ov.Type.f32:
        end = opset1.convert(end, "f32").output(0)
    if imported.output_scale is not None:
        end = opset1.subtract(end, opset1.constant(np.float32(imported.output_zero_point))).output(0)
        end = opset1.multiply(end, opset1.constant(np.float32(imported.output_scale))).output(0)
    if len(end.get_partial_shape()) != 2:
        end = opset1.reshape(end, opset1.constant(np.array([1, count], np.int64)), special_zero=False).output(0)
    if imported.output == "logits":
        end = (opset1.sigmoid(end) if count == 1 else opset1.softmax(end, 1)).output(0)
    if end.get_node().get_output_size() > 1 or end.get_node().get_type_name() == "Parameter":
        end = opset1.reshape(end, opset1.constant(np.array([1, count], np.int64)), special_zero=False).output(0)
    return ov.Model([opset1.result(end)], graph.get_parameters(), "toolkit")


def is_quantized(graph: ov.Model) -> bool:
    """Does it come with ranges of its own?"""
    return any(node.get_type_name() == "FakeQuantize" for node in graph.get_ops())


def name_of(port: Any) -> str:
    """An input's or an output's name, or its operation's."""
    names = sorted(port.get_names())
    return str(names[0]) if names else str(port.get_node().get_friendly_name())


def _only_one(graph: ov.Model) -> None:
    problems = [
        Problem(f"has {len(ports)} {what}: {', '.join(map(name_of, ports))}", "", f"export it with one of the {what}")
        for what, ports in (("inputs", graph.inputs), ("outputs", graph.outputs))
        if len(ports) != 1
    ]
    if problems:
        raise DataError.from_problems(problems)


def _layout(sides: list[int | None], usual: str) -> str:
    """Three channels lie last or second; where both or neither fit, `usual`."""
    last, second = sides[3] == 3, sides[1] == 3
    if last != second:
        return "NHWC" if last else "NCHW"
    return usual


def _type_problems(name: str, kind: str) -> list[Problem]:
    if kind in FLOATS | RANGES.keys():
        return []
    return [Problem(f"takes numbers of type {kind}, not pixels", name, "export it with a float32 input")]


def _channel_problems(name: str, shape: Any, channels: int | None, layout: str) -> list[Problem]:
    if channels in {3, None}:
        return []
    remedy = "give a model for color images, or set --layout if its axes lie otherwise"
    return [Problem(f"takes {channels} channels ({shape} as {layout}), not three", name, remedy)]
