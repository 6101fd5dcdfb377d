"""Each rule on its own: the operation before and after, run on the same numbers, and nothing left above opset 6."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from toolkit.compat import find_target
from toolkit.convert.lowering.lower import lower, opset_of
from toolkit.convert.lowering.ops import constant, make_op
from toolkit.convert.lowering.rules import RULES
from toolkit.errors import ConversionError

NCS2 = find_target("ncs2")


def one_operation(kind: str, opset: int, shape: list[int], *inputs: Any, **attributes: Any) -> Any:
    """A model of that one operation on a float32 parameter and constants; `exclude_pad` stands for "exclude-pad"."""
    import openvino as ov
    from openvino import opset1

    image = opset1.parameter(shape, np.float32, name="image")
    text = {"exclude-pad" if key == "exclude_pad" else key: value for key, value in attributes.items()}
    node = make_op(opset, kind, [image, *(constant(value, _dtype(value)) for value in inputs)], **text)
    node.set_friendly_name("probabilities")
    node.output(0).get_tensor().set_names({"probabilities"})
    result = opset1.result(node.output(0))
    return ov.Model([result], [image], "one")


def _dtype(value: Any) -> Any:
    """Python floats stand for float32, as in a network."""
    return np.float32 if isinstance(value, float) else np.asarray(value).dtype


def run(model: Any, value: Any) -> Any:
    import openvino as ov

    return ov.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(value)[0]


WINDOW = {"strides": [2, 2], "pads_begin": [0, 0], "pads_end": [0, 0], "kernel": [2, 2], "auto_pad": "explicit"}
SAME = WINDOW | {"kernel": [3, 3], "auto_pad": "same_upper"}
UNDILATED = {"dilations": [1, 1]}
HALF_PIXEL = {"mode": "linear", "shape_calculation_mode": "sizes", "coordinate_transformation_mode": "half_pixel"}
NEAREST = {"mode": "nearest", "shape_calculation_mode": "scales", "coordinate_transformation_mode": "asymmetric"}
I64 = np.int64


def around(*inputs: Any) -> tuple[Any, ...]:
    """Constants of those shapes beside the parameter."""
    random = np.random.default_rng(6)
    return tuple(random.normal(0, 1, shape).astype(np.float32) for shape in inputs)


CASES = [
    ("Abs", 1, [1, 4, 3, 3], (), {}),
    ("Einsum", 7, [1, 5, 4], around((4, 2, 3)), {"equation": "abc,cde->abde"}),
    ("Einsum", 7, [2, 5, 3, 4], around((2, 6, 3, 4)), {"equation": "afhd,athd->ahft"}),
    ("Einsum", 7, [2, 3, 5, 6], around((2, 6, 3, 4)), {"equation": "ahft,athd->afhd"}),
    ("Einsum", 7, [2, 4, 4, 3], around((2, 4, 4, 3)), {"equation": "bhwc,bhwd->bcd"}),
    ("ScaledDotProductAttention", 13, [2, 5, 4], around((2, 6, 4), (2, 6, 3)), {"causal": False}),
    ("ScaledDotProductAttention", 13, [2, 5, 4], around((2, 6, 4), (2, 6, 3), (2, 5, 6), (1,)), {"causal": False}),
    ("Softmax", 8, [2, 5], (), {"axis": -1}),
    ("Softmax", 8, [1, 4, 3, 3], (), {"axis": 1}),
    ("MaxPool", 8, [1, 3, 9, 9], (), WINDOW | UNDILATED | {"rounding_type": "floor"}),
    ("MaxPool", 8, [1, 3, 9, 9], (), WINDOW | UNDILATED | {"rounding_type": "ceil"}),
    ("MaxPool", 14, [1, 3, 9, 9], (), WINDOW | UNDILATED | {"rounding_type": "ceil_torch"}),
    ("MaxPool", 8, [1, 3, 9, 9], (), SAME | UNDILATED | {"rounding_type": "floor"}),
    ("AvgPool", 14, [1, 3, 8, 8], (), WINDOW | {"exclude_pad": True, "rounding_type": "floor"}),
    ("AvgPool", 16, [1, 3, 9, 9], (), SAME | UNDILATED | {"exclude_pad": True, "rounding_type": "floor"}),
    ("Pad", 12, [1, 2, 4, 4], ([0, 0, 1, 2], [0, 0, 0, 1], 0.5), {"pad_mode": "constant"}),
    ("Pad", 12, [1, 2, 4, 4], ([0, 0, 1, 2], [0, 0, 0, 1]), {"pad_mode": "reflect"}),
    ("Gather", 8, [1, 6, 2, 2], (np.array([0, -1, 2]), np.array(1)), {"batch_dims": 0}),
    ("Gather", 7, [1, 6, 2, 2], (np.array([5, 0]), np.array(-3)), {"batch_dims": 0}),
    ("Slice", 8, [1, 6, 5, 5], (np.array([1, -3]), np.array([5, 100]), np.array([2, 1]), np.array([1, -1])), {}),
    ("Slice", 8, [4, 6], (np.array([1]), np.array([3]), np.array([1])), {}),
    ("Gelu", 7, [1, 7], (), {"approximation_mode": "ERF"}),
    ("Gelu", 7, [1, 7], (), {"approximation_mode": "TANH"}),
    ("HSigmoid", 5, [1, 7], (), {}),
    ("Selu", 1, [1, 7], (np.float32(1.6733), np.float32(1.0507)), {}),
    ("SoftSign", 9, [1, 7], (), {}),
    (
        "GroupNormalization",
        12,
        [2, 6, 3, 4],
        (np.linspace(0.5, 2, 6, dtype=np.float32), np.linspace(-1, 1, 6, dtype=np.float32)),
        {"num_groups": 3, "epsilon": 1e-3},
    ),
    ("AdaptiveAvgPool", 8, [1, 3, 6, 8], (np.array([3, 2]),), {}),
    ("AdaptiveAvgPool", 8, [1, 3, 7, 7], (np.array([1, 1]),), {}),
    ("Squeeze", 15, [1, 3, 1, 1], (np.array([2, 3]),), {}),
    ("Interpolate", 11, [1, 3, 4, 5], (np.array([8, 10]), np.array([2, 3])), HALF_PIXEL),
    ("Interpolate", 11, [1, 4, 5, 3], (np.array([7, 9]), np.array([1, 2])), HALF_PIXEL),
    ("Interpolate", 11, [1, 4, 5, 3], (np.array([2, 2], np.float32), np.array([1, 2])), NEAREST),
]


@pytest.mark.parametrize(("kind", "opset", "shape", "inputs", "attributes"), CASES, ids=lambda value: str(value)[:24])
def test_lower_gives_the_same_numbers_when_a_rule_applies(
    kind: str, opset: int, shape: list[int], inputs: tuple[Any, ...], attributes: dict[str, Any]
) -> None:
    before = one_operation(kind, opset, shape, *inputs, **attributes)
    value = np.random.default_rng(1).normal(0, 2, shape).astype(np.float32)
    lowered = lower(before, NCS2)
    assert lowered.replaced == {kind: 1}
    assert max(opset_of(node) for node in lowered.model.get_ops()) <= NCS2.opset
    assert (
        lowered.model.output("probabilities").get_node().input_value(0).get_node().get_friendly_name()
        == "probabilities"
    )
    np.testing.assert_allclose(run(lowered.model, value), run(before, value), rtol=0, atol=2e-6)


def test_lower_tests_every_rule_when_the_table_grows() -> None:
    assert {case[0] for case in CASES} == set(RULES)


REFUSED = [
    ("Einsum", 7, [2, 3, 3], (), {"equation": "abb->ab"}, "not a product of two"),
    ("Einsum", 7, [2, 3, 3], around((3, 4)), {"equation": "abc,cd->ad"}, "one tensor alone"),
    ("ScaledDotProductAttention", 13, [2, 5, 4], around((2, 6, 4), (2, 6, 3)), {"causal": True}, "causal"),
    (
        "ScaledDotProductAttention",
        13,
        [2, 5, 4],
        (*around((2, 6, 4), (2, 6, 3)), np.ones((2, 5, 6), dtype=np.bool_)),
        {"causal": False},
        "mask",
    ),
    ("MaxPool", 8, [1, 3, 9, 9], (), WINDOW | {"dilations": [2, 2], "rounding_type": "floor"}, "dilated"),
    ("Pad", 12, [1, 4], ([0, -1], [0, 0], 0.0), {"pad_mode": "constant"}, "negative"),
    ("Gather", 8, [2, 3, 4], (np.array([[0], [1]]), np.array(1)), {"batch_dims": 1}, "batch_dims"),
    ("Slice", 8, [4, 6], (np.array([3]), np.array([0]), np.array([-1])), {}, "backwards"),
    ("AdaptiveAvgPool", 8, [1, 3, 7, 7], (np.array([2, 2]),), {}, "evenly"),
    (
        "Interpolate",
        11,
        [1, 3, 4, 4],
        (np.array([2, 2]), np.array([2, 3])),
        HALF_PIXEL | {"mode": "bilinear_pillow"},
        "newer",
    ),
    ("IsNaN", 10, [1, 4], (), {}, "cannot be lowered to opset 6"),
]


@pytest.mark.parametrize(
    ("kind", "opset", "shape", "inputs", "attributes", "reason"), REFUSED, ids=lambda value: str(value)[:24]
)
def test_lower_refuses_by_name_when_there_is_no_older_form(
    kind: str, opset: int, shape: list[int], inputs: tuple[Any, ...], attributes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ConversionError) as refused:
        lower(one_operation(kind, opset, shape, *inputs, **attributes), NCS2)
    (problem,) = refused.value.problems
    assert problem.where == "probabilities"
    assert f"{kind}-{opset}" in problem.what
    assert reason in problem.what
    assert "another layer" in problem.remedy


def test_lower_keeps_newer_operations_when_the_target_knows_them() -> None:
    model = one_operation("Softmax", 8, [2, 5], axis=-1)
    assert lower(model, find_target("cpu-2022")).replaced == {}
    gather = one_operation("MaxPool", 14, [1, 3, 8, 8], **WINDOW, **UNDILATED, rounding_type="floor")
    assert lower(gather, find_target("cpu-2022")).replaced == {"MaxPool": 1}


def test_lower_gives_the_advice_of_the_table_when_the_stick() -> None:
    ends = [np.float32(value) for value in (-1, 1, -1, 1)]
    with pytest.raises(ConversionError, match="FP16 only"):
        lower(one_operation("FakeQuantize", 1, [1, 4], *ends, levels=256), NCS2)


def test_lower_reports_every_operation_when_several_have_no_form() -> None:
    import openvino as ov
    from openvino import opset1

    image = opset1.parameter([1, 4], np.float32)
    first, second = make_op(10, "IsNaN", [image]), make_op(10, "IsInf", [image])
    with pytest.raises(ConversionError) as refused:
        lower(ov.Model([first, second], [image]), NCS2)
    assert {problem.what.split()[0] for problem in refused.value.problems} == {"IsNaN-10", "IsInf-10"}
