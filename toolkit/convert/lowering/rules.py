"""The lowering rules: each newer operation expressed in operations that older runtimes support.

A rule builds a node's replacement from operations of opset 6 or less, or returns the reason why it cannot.
The results are equal up to rounding; each rule has a test in tests/convert/lowering/test_rules.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import pi, sqrt

import numpy as np

from toolkit.convert.lowering.einsum_rules import attention, einsum
from toolkit.convert.lowering.ops import (
    CannotLowerError,
    Node,
    Output,
    add,
    constant,
    constant_value,
    make_op,
    multiply,
)


@dataclass(frozen=True, slots=True)
class Rule:
    """`build` makes the replacement of a node of type `kind`."""

    kind: str
    becomes: str
    """What it turns into, for people."""
    build: Callable[[Node], Node]


def _softmax(node: Node) -> Node:
    return make_op(1, "Softmax", [node.input_value(0)], axis=_positive(node, node.get_attributes()["axis"]))


def _positive(node: Node, axis: int) -> int:
    return int(axis) % len(node.get_input_partial_shape(0))


def _pool(kind: str) -> Callable[[Node], Node]:
    remaining = ("strides", "pads_begin", "pads_end", "kernel", "auto_pad", "exclude-pad")

    def build(node: Node) -> Node:
        attributes = node.get_attributes()
        if any(step != 1 for step in attributes.get("dilations", ())):
            raise CannotLowerError("its window is dilated")
        if node.get_output_size() > 1 and node.output(1).get_target_inputs():
            raise CannotLowerError("the indices of the largest values are used, not only the values")
        old = {key: attributes[key] for key in remaining if key in attributes}
        for rounding in ("floor", "ceil"):
            new = make_op(1, kind, [node.input_value(0)], rounding_type=rounding, **old)
            if attributes["rounding_type"] in {rounding, "ceil_torch"} and _same_shape(node, new):
                return new
        raise CannotLowerError(
            f"rounding {attributes['rounding_type']!r} gives a size that older runtimes do not support"
        )

    return build


def _same_shape(node: Node, new: Node) -> bool:
    return bool(node.get_output_partial_shape(0) == new.get_output_partial_shape(0))


def _interpolate(node: Node) -> Node:
    """Older runtimes resize only the last two of four axes, so NHWC is turned around it."""
    attributes = node.get_attributes()
    if attributes["mode"] not in {"nearest", "linear", "linear_onnx", "cubic"}:
        raise CannotLowerError(f"mode {attributes['mode']!r} is newer than this runtime")
    sizes = [list(node.get_input_shape(0)), list(node.get_output_shape(0))]
    rank = len(sizes[0])
    axes = [int(axis) % rank for axis in constant_value(node, 2)] if node.get_input_size() > 2 else list(range(rank))
    source = node.input_value(0)
    turned = rank == 4 and axes == [1, 2]
    if turned:
        source = make_op(1, "Transpose", [source, constant([0, 3, 1, 2], np.int64)])
        axes = [2, 3]
        sizes = [[size[axis] for axis in (0, 3, 1, 2)] for size in sizes]
    before, after = sizes
    inputs = [
        source,
        constant([after[axis] for axis in axes], np.int64),
        constant([after[axis] / before[axis] for axis in axes]),
        constant(axes, np.int64),
    ]
    new = make_op(4, "Interpolate", inputs, **attributes)
    return make_op(1, "Transpose", [new, constant([0, 2, 3, 1], np.int64)]) if turned else new


def _pad(node: Node) -> Node:
    if any((constant_value(node, port) < 0).any() for port in (1, 2)):
        raise CannotLowerError("it cuts (negative padding)")
    inputs = [node.input_value(port) for port in range(node.get_input_size())]
    return make_op(1, "Pad", inputs, pad_mode=node.get_attributes()["pad_mode"])


def _gather(node: Node) -> Node:
    if node.get_attributes().get("batch_dims", 0):
        raise CannotLowerError("batch_dims is not 0")
    axis = _positive(node, int(constant_value(node, 2).item()))
    indices = constant_value(node, 1)
    positive = np.where(indices < 0, indices + node.get_input_shape(0)[axis], indices)
    return make_op(1, "Gather", [node.input_value(0), constant(positive, np.int64), constant(axis, np.int64)])


def _slice(node: Node) -> Node:
    """Slice-8 names its axes; StridedSlice-1 takes all, and marks those it leaves whole."""
    shape = node.get_input_shape(0)
    start, stop, step = (constant_value(node, port).astype(np.int64) for port in (1, 2, 3))
    axes = constant_value(node, 4) if node.get_input_size() > 4 else np.arange(len(start))
    begin, end, stride = [0] * len(shape), [int(size) for size in shape], [1] * len(shape)
    for index, axis in enumerate(int(axis) % len(shape) for axis in axes):
        if step[index] < 0:
            raise CannotLowerError("it steps backwards")
        begin[axis], end[axis], stride[axis] = slice(start[index], stop[index], step[index]).indices(shape[axis])
    none = [0] * len(shape)
    inputs = [node.input_value(0), *(constant(value, np.int64) for value in (begin, end, stride))]
    masks = dict.fromkeys(("begin_mask", "end_mask", "new_axis_mask", "shrink_axis_mask", "ellipsis_mask"), none)
    return make_op(1, "StridedSlice", inputs, **masks)


def _gelu(node: Node) -> Node:
    """Gelu-2 is the exact one; 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) is written out (Hendrycks and Gimpel 2016)."""
    x = node.input_value(0)
    if node.get_attributes()["approximation_mode"].lower() == "erf":
        return make_op(2, "Gelu", [x])
    cube = multiply(multiply(x, x), x)
    inner = multiply(add(x, multiply(cube, constant(0.044715))), constant(sqrt(2 / pi)))
    return multiply(multiply(x, constant(0.5)), add(make_op(1, "Tanh", [inner]), constant(1.0)))


def _hard_sigmoid(node: Node) -> Node:
    """min(max(x + 3, 0), 6) / 6, for targets without HSigmoid."""
    clamped = make_op(1, "Clamp", [add(node.input_value(0), constant(3.0))], min=0.0, max=6.0)
    return multiply(clamped, constant(1 / 6))


def _selu(node: Node) -> Node:
    """Factor times elu(x, alpha), for targets with Elu but without Selu."""
    alpha, factor = (float(constant_value(node, port).reshape(())) for port in (1, 2))
    return multiply(make_op(1, "Elu", [node.input_value(0)], alpha=alpha), constant(factor))


def _absolute(node: Node) -> Node:
    """The larger of x and -x, for targets without Abs."""
    return _without_sign(node.input_value(0))


def _softsign(node: Node) -> Node:
    x = node.input_value(0)
    return make_op(1, "Divide", [x, add(_without_sign(x), constant(1.0))])


def _group_normalization(node: Node) -> Node:
    """Mean and variance over each group's channels and positions, written out."""
    attributes = node.get_attributes()
    batch, channels, *space = (int(size) for size in node.get_input_shape(0))
    whole = constant([batch, channels, *space], np.int64)
    groups = constant([batch, attributes["num_groups"], -1], np.int64)
    x = make_op(1, "Reshape", [node.input_value(0), groups], special_zero=False)
    centered = make_op(1, "Subtract", [x, _mean(x)])
    variance = add(_mean(multiply(centered, centered)), constant(attributes["epsilon"]))
    normal = multiply(centered, make_op(1, "Power", [variance, constant(-0.5)]))
    back = make_op(1, "Reshape", [normal, whole], special_zero=False)
    per_channel = constant([1, channels, *(1 for _ in space)], np.int64)
    scale, shift = (make_op(1, "Reshape", [node.input_value(port), per_channel], special_zero=False) for port in (1, 2))
    return add(multiply(back, scale), shift)


def _adaptive_average(node: Node) -> Node:
    """Where the sizes divide evenly it is a plain average."""
    before, after = node.get_input_shape(0)[2:], node.get_output_shape(0)[2:]
    if any(size % count for size, count in zip(before, after, strict=True)):
        raise CannotLowerError(f"{tuple(before)} does not divide evenly into {tuple(after)}")
    window = [size // count for size, count in zip(before, after, strict=True)]
    none = [0] * len(window)
    pool = {"strides": window, "kernel": window, "pads_begin": none, "pads_end": none, "exclude-pad": True}
    return make_op(1, "AvgPool", [node.input_value(0)], **pool, rounding_type="floor", auto_pad="explicit")


def _squeeze(node: Node) -> Node:
    return make_op(1, "Squeeze", [node.input_value(port) for port in range(node.get_input_size())])


def _without_sign(x: Output) -> Node:
    return make_op(1, "Maximum", [x, multiply(x, constant(-1.0))])


def _mean(x: Node) -> Node:
    return make_op(1, "ReduceMean", [x, constant([2], np.int64)], keep_dims=True)


RULES: dict[str, Rule] = {
    rule.kind: rule
    for rule in (
        Rule("Abs", "Maximum", _absolute),
        Rule("AdaptiveAvgPool", "AvgPool-1", _adaptive_average),
        Rule("AvgPool", "AvgPool-1", _pool("AvgPool")),
        Rule("Einsum", "MatMul", einsum),
        Rule("Gather", "Gather-1", _gather),
        Rule("Gelu", "Gelu-2, or its formula", _gelu),
        Rule("GroupNormalization", "its formula", _group_normalization),
        Rule("HSigmoid", "Clamp", _hard_sigmoid),
        Rule("Interpolate", "Interpolate-4", _interpolate),
        Rule("MaxPool", "MaxPool-1", _pool("MaxPool")),
        Rule("Pad", "Pad-1", _pad),
        Rule("ScaledDotProductAttention", "its formula", attention),
        Rule("Selu", "Elu", _selu),
        Rule("Slice", "StridedSlice-1", _slice),
        Rule("SoftSign", "Divide", _softsign),
        Rule("Softmax", "Softmax-1", _softmax),
        Rule("Squeeze", "Squeeze-1", _squeeze),
    )
}
