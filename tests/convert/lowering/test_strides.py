"""Strides that were moved upstream: the same numbers to the last bit of rounding, and only where nobody needs the rest."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from toolkit.convert.lowering.ops import constant, make_op
from toolkit.convert.lowering.strides import move_strides

SIDE = 13
random = np.random.default_rng(4)


def convolution(x: Any, filters: int, kernel: int, stride: int = 1, auto_pad: str = "same_upper") -> Any:
    channels = int(x.get_output_shape(0)[1])
    weights = constant(random.normal(0, 0.5, (filters, channels, kernel, kernel)))
    steps = {"strides": [stride] * 2, "dilations": [1, 1], "pads_begin": [0, 0], "pads_end": [0, 0]}
    return make_op(1, "Convolution", [x, weights], **steps, auto_pad=auto_pad)


def depthwise(x: Any) -> Any:
    channels = int(x.get_output_shape(0)[1])
    weights = constant(random.normal(0, 0.5, (channels, 1, 1, 3, 3)))
    steps = {"strides": [1, 1], "dilations": [2, 2], "pads_begin": [1, 2], "pads_end": [2, 0]}
    return make_op(1, "GroupConvolution", [x, weights], **steps, auto_pad="explicit")


def relu(x: Any) -> Any:
    return make_op(1, "Relu", [x])


def network(body: Any, side: int = SIDE) -> Any:
    import openvino as ov
    from openvino import opset1

    image = opset1.parameter([1, 4, side, side], np.float32, name="image")
    ends = body(image)
    return ov.Model(list(ends) if isinstance(ends, tuple) else [ends], [image], "strided")


def run(model: Any, side: int = SIDE) -> list[Any]:
    import openvino as ov

    value = np.random.default_rng(1).normal(0, 1, (1, 4, side, side)).astype(np.float32)
    answers = ov.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(value)
    return [answers[index] for index in range(len(model.outputs))]


def steps(model: Any) -> list[tuple[str, int]]:
    result = [(node.get_type_name(), node.get_attributes().get("strides")) for node in model.get_ordered_ops()]
    return [(kind, strides[0]) for kind, strides in result if strides]


def residual(x: Any) -> Any:
    """As ResNet's stages end and begin: the sum is read by two strided convolutions, one of its terms by more."""
    first = relu(convolution(x, 8, 3))
    second = relu(make_op(1, "Add", [first, convolution(relu(convolution(first, 8, 3)), 8, 1)]))
    return make_op(1, "Add", [convolution(second, 6, 1, 2), convolution(relu(convolution(second, 5, 1, 2)), 6, 3)])


def with_bias(x: Any) -> Any:
    shifted = make_op(1, "Add", [convolution(x, 8, 3), constant(random.normal(0, 1, (1, 8, 1, 1)))])
    return convolution(make_op(1, "PRelu", [shifted, constant(random.uniform(0, 1, 8))]), 3, 1, 3)


def gated(x: Any) -> Any:
    maps = convolution(x, 8, 3)
    gate = make_op(1, "Sigmoid", [make_op(1, "ReduceMean", [x, constant([2, 3], np.int64)], keep_dims=True)])
    scaled = make_op(1, "Multiply", [maps, convolution(gate, 8, 1)])
    return convolution(scaled, 4, 1, 2)


MOVED = {
    "a chain": (lambda x: convolution(relu(convolution(x, 8, 3)), 4, 1, 2), [("Convolution", 2), ("Convolution", 1)]),
    "a depthwise chain": (
        lambda x: convolution(relu(depthwise(x)), 4, 1, 2),
        [("GroupConvolution", 2), ("Convolution", 1)],
    ),
    "two in a row": (
        lambda x: convolution(convolution(convolution(x, 8, 3, 2), 8, 1), 4, 1, 2),
        [("Convolution", 4), ("Convolution", 1), ("Convolution", 1)],
    ),
    "a constant per channel": (with_bias, [("Convolution", 3), ("Convolution", 1)]),
    "a gate per channel": (gated, [("Convolution", 2), ("Convolution", 1), ("Convolution", 1)]),
}


@pytest.mark.parametrize("name", MOVED)
def test_move_strides_lets_the_convolution_before_it_skip(name: str) -> None:
    body, expected = MOVED[name]
    model = network(body)
    before = run(model)
    assert move_strides(model) >= 1
    assert sorted(steps(model)) == sorted(expected)
    np.testing.assert_allclose(run(model)[0], before[0], rtol=0, atol=1e-5)


def test_move_strides_takes_positions_out_of_the_other_term() -> None:
    model = network(residual)
    before = run(model)
    assert move_strides(model) == 2
    kinds = steps(model)
    assert kinds.count(("MaxPool", 2)) == 1
    assert kinds.count(("Convolution", 2)) == 1
    np.testing.assert_allclose(run(model)[0], before[0], rtol=0, atol=1e-5)


def both_used(x: Any) -> Any:
    maps = relu(convolution(x, 8, 3))
    return convolution(maps, 4, 1, 2), make_op(1, "ReduceMean", [maps, constant([2, 3], np.int64)], keep_dims=False)


def both_terms_used(x: Any) -> Any:
    left, right = relu(convolution(x, 4, 3)), relu(x)
    return (
        convolution(make_op(1, "Add", [left, right]), 4, 1, 2),
        make_op(1, "Tanh", [left]),
        make_op(1, "Tanh", [right]),
    )


def unlike(x: Any) -> Any:
    maps = relu(convolution(x, 8, 3))
    return convolution(maps, 4, 1, 2), convolution(maps, 4, 1, 3)


KEPT = {
    "another reads the whole map": both_used,
    "two readers with other steps": unlike,
    "the strided one is 3 x 3": lambda x: convolution(relu(convolution(x, 8, 3)), 4, 3, 2),
    "a pooling is between": lambda x: convolution(
        make_op(
            1,
            "MaxPool",
            [convolution(x, 8, 3)],
            **{key: [1, 1] for key in ("strides", "pads_begin", "pads_end")},
            kernel=[3, 3],
            rounding_type="floor",
            auto_pad="explicit",
        ),
        4,
        1,
        2,
    ),
    "a constant per position": lambda x: convolution(
        make_op(1, "Add", [convolution(x, 8, 3), constant(random.normal(0, 1, (1, 1, SIDE, SIDE)))]), 4, 1, 2
    ),
    "nothing before it computes": lambda x: convolution(relu(x), 4, 1, 2),
    "both terms of a sum are needed": both_terms_used,
}


@pytest.mark.parametrize("name", KEPT)
def test_move_strides_changes_nothing_when_the_rest_is_needed(name: str) -> None:
    model = network(KEPT[name])
    before = steps(model)
    assert move_strides(model) == 0
    assert steps(model) == before


LAYERS = st.sampled_from(["convolution", "pointwise", "strided", "depthwise", "relu", "residual", "gate", "second end"])


def grow(x: Any, layer: str, ends: list[Any]) -> Any:
    channels = int(x.get_output_shape(0)[1])
    if layer == "second end":
        ends.append(make_op(1, "ReduceMean", [x, constant([2, 3], np.int64)], keep_dims=False))
        return x
    if layer == "residual":
        return relu(make_op(1, "Add", [x, convolution(relu(convolution(x, channels, 3)), channels, 1)]))
    if layer == "gate":
        return make_op(1, "Multiply", [x, make_op(1, "ReduceMean", [x, constant([2, 3], np.int64)], keep_dims=True)])
    if layer == "depthwise":
        return depthwise(x) if min(x.get_output_shape(0)[2:]) > 2 else x
    if layer == "relu":
        return relu(x)
    kernel, stride = {"convolution": (3, 1), "pointwise": (1, 1), "strided": (1, 2)}[layer]
    return convolution(x, 4, kernel, stride)


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(chosen=st.lists(LAYERS, min_size=2, max_size=9), side=st.integers(5, 14))
def test_move_strides_gives_the_same_numbers_when_the_network(chosen: list[str], side: int) -> None:
    ends: list[Any] = []

    def body(x: Any) -> Any:
        for layer in (*chosen, "strided"):
            x = grow(x, layer, ends)
        return (x, *ends)

    model = network(body, side)
    before = run(model, side)
    move_strides(model)
    for after, expected in zip(run(model, side), before, strict=True):
        np.testing.assert_allclose(after, expected, rtol=1e-4, atol=1e-4)
