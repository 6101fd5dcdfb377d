"""Constructors of operations of a given opset, and accessors for the nodes that rules replace."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

# Nodes and outputs of openvino, which ships no types.
Node = Any
Output = Any


class CannotLowerError(Exception):
    """This node cannot be lowered; with the reason."""


def make_op(opset: int, kind: str, inputs: Sequence[Node | Output], **attributes: object) -> Node:
    """A node of exactly that opset (openvino's own functions of an opset may give a newer one's)."""
    from openvino.utils.node_factory import NodeFactory

    outputs = [item.output(0) if hasattr(item, "output") else item for item in inputs]
    return NodeFactory(f"opset{opset}").create(kind, outputs, dict(attributes))


def constant(value: Any, dtype: Any = np.float32) -> Node:
    """A constant of that NumPy type."""
    from openvino import opset1

    return opset1.constant(np.asarray(value, dtype=dtype))


def constant_value(node: Node, port: int) -> Any:
    """The value of a constant input, a NumPy array."""
    source = node.input_value(port).get_node()
    if source.get_type_name() != "Constant":
        raise CannotLowerError(f"input {port} is computed, not constant")
    return source.data


def add(left: Node | Output, right: Node | Output) -> Node:
    """Add-1."""
    return make_op(1, "Add", [left, right])


def multiply(left: Node | Output, right: Node | Output) -> Node:
    """Multiply-1."""
    return make_op(1, "Multiply", [left, right])
