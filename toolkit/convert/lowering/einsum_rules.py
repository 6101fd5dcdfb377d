"""Rules for products of whole tensors: attention and Einstein summation."""

from __future__ import annotations

from math import prod

import numpy as np

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


def attention(node: Node) -> Node:
    """softmax(query keys^T scale + mask) values (Vaswani et al. 2017); scale is 1/sqrt(width of a query) unless given."""
    if node.get_attributes()["causal"]:
        raise CannotLowerError("it is causal")
    query, keys, values, *rest = (node.input_value(port) for port in range(node.get_input_size()))
    scale = rest[1] if len(rest) > 1 else constant(node.get_input_shape(0)[-1] ** -0.5)
    scores = multiply(make_op(1, "MatMul", [query, keys], transpose_a=False, transpose_b=True), scale)
    if rest and rest[0].get_element_type().is_real() and tuple(rest[0].get_shape()) not in {(), (1,)}:
        scores = add(scores, rest[0])
    elif rest and not (rest[0].get_element_type().is_real() and not constant_value(node, 3).any()):
        raise CannotLowerError("its mask is not of numbers to add")
    weights = make_op(1, "Softmax", [scores], axis=len(node.get_output_shape(0)) - 1)
    return make_op(1, "MatMul", [weights, values], transpose_a=False, transpose_b=False)


def einsum(node: Node) -> Node:
    """A sum over the axes that two tensors share is a matrix product, once the axes lie side by side."""
    equation = str(node.get_attributes()["equation"])
    terms, _, ends = equation.partition("->")
    left, comma, right = terms.partition(",")
    if not comma or "," in right or "." in equation or any(len(set(axes)) < len(axes) for axes in (left, right, ends)):
        raise CannotLowerError(f"{equation} is not a product of two tensors with axes of their own")
    sizes = dict(zip(left + right, (*node.get_input_shape(0), *node.get_input_shape(1)), strict=True))
    both = [axis for axis in left if axis in right]
    remaining, summed = [axis for axis in both if axis in ends], [axis for axis in both if axis not in ends]
    rows, columns = ([axis for axis in side if axis not in both] for side in (left, right))
    if sorted(ends) != sorted(remaining + rows + columns):
        raise CannotLowerError(f"{equation} sums an axis of one tensor alone")
    product = make_op(
        1,
        "MatMul",
        [
            _side_by_side(node.input_value(0), left, (remaining, rows, summed), sizes),
            _side_by_side(node.input_value(1), right, (remaining, summed, columns), sizes),
        ],
        transpose_a=False,
        transpose_b=False,
    )
    made = remaining + rows + columns
    whole = make_op(1, "Reshape", [product, constant([sizes[axis] for axis in made], np.int64)], special_zero=False)
    return make_op(1, "Transpose", [whole, constant([made.index(axis) for axis in ends], np.int64)])


def _side_by_side(value: Output, axes: str, groups: tuple[list[str], ...], sizes: dict[str, int]) -> Node:
    """`value` with its axes in the order of the groups, one axis for each group."""
    order = [axes.index(axis) for group in groups for axis in group]
    turned = make_op(1, "Transpose", [value, constant(order, np.int64)])
    shape = [prod(sizes[axis] for axis in group) for group in groups]
    return make_op(1, "Reshape", [turned, constant(shape, np.int64)], special_zero=False)
