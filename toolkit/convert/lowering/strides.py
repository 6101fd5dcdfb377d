"""Move strides upstream, so that values that a strided 1 x 1 convolution would discard are not computed.

    convolution 3 x 3 ─ ReLU ─ convolution 1 x 1 / 2      reads every second row and column of its input
    convolution 3 x 3 / 2 ─ ReLU ─ convolution 1 x 1      the same numbers, a quarter of the work

A stride moves through elementwise operations. At a residual connection, if another operation reads one of the two feature
maps in full, a 1 x 1 pooling selects its positions. Intel's converter of 2021 did this for ResNet ("stride optimization");
runtimes since 2022 do it themselves.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import Any

from toolkit.convert.lowering.ops import Node, Output, make_op

Step = tuple[int, ...]

_CONVOLUTIONS = {"Convolution", "GroupConvolution"}
_EACH_POSITION_ALONE = {
    *("Abs", "Clamp", "Elu", "Exp", "Gelu", "HSigmoid", "HSwish", "Mish", "Negative", "Relu", "Selu", "Sigmoid"),
    *("SoftPlus", "Sqrt", "Swish", "Tanh"),
    *("Add", "Divide", "Maximum", "Minimum", "Multiply", "Power", "PRelu", "SquaredDifference", "Subtract"),
}


@dataclass(slots=True)
class _Plan:
    """What takes a stride: convolutions that then compute less, and places where positions are taken out."""

    convolutions: list[Node] = field(default_factory=list)
    pools: list[Any] = field(default_factory=list)
    """Inputs of nodes."""

    @property
    def pays(self) -> bool:
        """Each pooling is one more step; it must be earned by a convolution that computes less."""
        return len(self.convolutions) >= max(len(self.pools), 1)


def move_strides(model: Any) -> int:
    """Move the strides of 1 x 1 convolutions of an ov.Model upstream where that is exact; how many moves were made."""
    moved = 0
    for node in reversed(model.get_ordered_ops()):
        if node.get_type_name() not in _CONVOLUTIONS | _EACH_POSITION_ALONE:
            continue
        value = node.output(0)
        step = _demand(value)
        plan = _Plan()
        if step is not None and _takes(value, plan) and plan.pays:
            readers = [reader.get_node() for reader in value.get_target_inputs()]
            _apply(plan, step, readers)
            model.validate_nodes_and_infer_types()
            moved += 1
    return moved


def _demand(value: Output) -> Step | None:
    """The step that every reader of a map takes: all are strided 1 x 1 convolutions, and alike."""
    steps = {_pointwise_step(reader) for reader in value.get_target_inputs()}
    return steps.pop() if len(steps) == 1 else None


def _pointwise_step(reader: Any) -> Step | None:
    node = reader.get_node()
    if node.get_type_name() not in _CONVOLUTIONS or reader.get_index() != 0:
        return None
    attributes = node.get_attributes()
    step = tuple(int(size) for size in attributes["strides"])
    window = tuple(node.get_input_shape(1))[-len(step) :]
    padded = any((*attributes["pads_begin"], *attributes["pads_end"]))
    return step if prod(window) == 1 and prod(step) > 1 and not padded else None


def _takes(value: Output, plan: _Plan) -> bool:
    """Can the node that makes this map make every other position only? Notes in `plan` what that takes."""
    node = value.get_node()
    if node.get_type_name() in _CONVOLUTIONS:
        plan.convolutions.append(node)
        return True
    if node.get_type_name() not in _EACH_POSITION_ALONE:
        return False
    ports = [port for port in range(node.get_input_size()) if not _same_everywhere(node, port)]
    if any(_space(node.get_input_shape(port)) != _space(value.get_shape()) for port in ports):
        return False
    if any(node.input_value(port).get_node().get_type_name() == "Constant" for port in ports):
        return False
    for port in ports:
        source = node.input_value(port)
        if len(source.get_target_inputs()) > 1 or not _takes(source, plan):
            plan.pools.append(node.input(port))
    return True


def _same_everywhere(node: Node, port: int) -> bool:
    """Does this input have one value for all positions? One per channel counts as such."""
    shape = tuple(node.get_input_shape(port))
    per_channel = node.get_type_name() == "PRelu" and port == 1 and len(shape) == 1
    return per_channel or prod(shape) == 1 or (len(shape) > 2 and prod(shape[-2:]) == 1)


def _space(shape: Any) -> tuple[int, ...]:
    return tuple(shape)[2:]


def _apply(plan: _Plan, step: Step, readers: list[Node]) -> None:
    for reader in readers:
        reader.set_attribute("strides", [1] * len(step))
    for node in plan.convolutions:
        attributes = node.get_attributes()
        node.set_attribute("auto_pad", "explicit")
        for side in ("pads_begin", "pads_end"):
            node.set_attribute(side, attributes[side])
        own = attributes["strides"]
        node.set_attribute("strides", [size * more for size, more in zip(own, step, strict=True)])
    for place in plan.pools:
        place.replace_source_output(_every(place.get_source_output(), step).output(0))


def _every(value: Output, step: Step) -> Node:
    """The positions of a map that a stride leaves."""
    one, none = [1] * len(step), [0] * len(step)
    window = {"kernel": one, "pads_begin": none, "pads_end": none, "strides": list(step)}
    return make_op(1, "MaxPool", [value], **window, rounding_type="floor", auto_pad="explicit")
