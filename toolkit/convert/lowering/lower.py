"""Lower a model to the operations that a target's runtime supports, or refuse the others by name.

    fold constants ─▶ apply the rules ─▶ refuse operations above the opset ─▶ checked graph
    ─▶ move strides upstream and use an NCHW input, if the target benefits

Input and output keep their names, and the preprocessing of images stays inside the graph.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from toolkit.compat import Target
from toolkit.convert import graphs
from toolkit.convert.lowering.ops import CannotLowerError
from toolkit.convert.lowering.rules import RULES
from toolkit.convert.lowering.strides import move_strides
from toolkit.errors import ConversionError, Problem


@dataclass(frozen=True, slots=True)
class Lowered:
    """The lowered model, and how many operations of each type were replaced."""

    model: Any
    replaced: Mapping[str, int]


def lower(model: Any, target: Target) -> Lowered:
    """A copy of `model` (an ov.Model) with no operation that `target` does not take.

    Raises:
        ConversionError: naming every operation without a rule, and what to use instead.
    """
    model = model.clone()
    _fold(model)
    known = {node.get_friendly_name() for node in model.get_ops()}
    replaced: Counter[str] = Counter()
    problems: list[Problem] = []
    for node in model.get_ordered_ops():
        if _needs_rule(node, target) and node.get_type_name() in RULES:
            problems += _apply(node, target)
            replaced[node.get_type_name()] += 1
    model.validate_nodes_and_infer_types()
    problems += _left(model, target, {problem.where for problem in problems})
    if problems:
        raise ConversionError.from_problems(problems)
    if target.moves_strides:
        move_strides(model)
    if target.layout == "NCHW":
        graphs.set_nchw_input(model)
    graphs.name_new_operations(model, known)
    return Lowered(model, dict(replaced))


def opset_of(node: Any) -> int:
    """The opset that a node's version belongs to."""
    return int(node.get_type_info().version_id.removeprefix("opset"))


def _fold(model: Any) -> None:
    from openvino.passes import ConstantFolding, Manager

    passes = Manager()
    passes.register_pass(ConstantFolding())
    passes.run_passes(model)


def _needs_rule(node: Any, target: Target) -> bool:
    return opset_of(node) > target.opset or node.get_type_name() in target.avoided


def _apply(node: Any, target: Target) -> list[Problem]:
    try:
        new = RULES[node.get_type_name()].build(node)
    except CannotLowerError as reason:
        return [_problem(node, target, str(reason))]
    _take_place(node, new)
    return []


def _take_place(old: Any, new: Any) -> None:
    """Put `new` where `old` was, under its name."""
    new.set_friendly_name(old.get_friendly_name())
    new.output(0).get_tensor().set_names(old.output(0).get_names())
    for reader in list(old.output(0).get_target_inputs()):
        reader.replace_source_output(new.output(0))


def _left(model: Any, target: Target, text: set[str]) -> Iterator[Problem]:
    for node in model.get_ordered_ops():
        kind, name = node.get_type_name(), node.get_friendly_name()
        if name in text:
            continue
        if kind in target.refused:
            yield Problem(f"{kind} is not supported by {target.summary}", name, target.refused[kind])
        elif opset_of(node) > target.opset:
            yield _problem(node, target, "")


def _problem(node: Any, target: Target, reason: str) -> Problem:
    what = f"{node.get_type_name()}-{opset_of(node)} cannot be lowered to opset {target.opset}"
    return Problem(
        what + (f": {reason}" if reason else ""),
        node.get_friendly_name(),
        f"use another layer in the network, or a target that takes newer ones (this is {target.name}: {target.summary})",
    )
