"""Any small network: said in older words it gives the same numbers, and nothing newer is left in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from toolkit import compat
from toolkit.compat import find_target
from toolkit.convert import graphs, parity
from toolkit.convert.lowering.lower import lower, opset_of
from toolkit.convert.lowering.ops import constant, make_op
from toolkit.convert.runtimes import legacy_openvino
from toolkit.progress import Silent

NCS2 = find_target("ncs2")
SIDE = 12

Layer = tuple[str, dict[str, Any]]

convolutions = st.fixed_dictionaries(
    {
        "filters": st.sampled_from([2, 4, 6]),
        "kernel": st.sampled_from([1, 3]),
        "stride": st.sampled_from([1, 2]),
        "dilation": st.sampled_from([1, 2]),
    }
)
pools = st.fixed_dictionaries(
    {
        "opset": st.sampled_from([8, 14]),
        "kernel": st.sampled_from([2, 3]),
        "stride": st.sampled_from([1, 2]),
        "auto_pad": st.sampled_from(["valid", "same_upper", "same_lower"]),
        "rounding_type": st.sampled_from(["floor", "ceil"]),
    }
)
layers = st.one_of(
    st.tuples(st.just("convolution"), convolutions),
    st.tuples(st.just("MaxPool"), pools),
    st.tuples(st.just("AvgPool"), pools.map(lambda text: text | {"opset": 14})),
    st.tuples(st.sampled_from(["Relu", "HSigmoid", "Gelu", "SoftSign", "HSwish", "Swish", "Abs"]), st.just({})),
    st.tuples(st.sampled_from(["depthwise", "transposed", "residual", "gate", "concat", "attention"]), st.just({})),
    st.tuples(st.just("Pad"), st.fixed_dictionaries({"mode": st.sampled_from(["constant", "reflect", "edge"])})),
    st.tuples(st.just("Interpolate"), st.fixed_dictionaries({"factor": st.sampled_from([2, 3])})),
    st.tuples(st.just("add"), st.just({})),
)
ACTIVATIONS = {"Relu": 1, "HSigmoid": 5, "SoftSign": 9, "HSwish": 4, "Swish": 4, "Gelu": 7, "Abs": 1}


UNPADDED = {"pads_begin": [0, 0], "pads_end": [0, 0]}
PLAIN = {"strides": [1, 1], "dilations": [1, 1]} | UNPADDED


def depthwise(x: Any, channels: int, random: np.random.Generator) -> Any:
    weights = constant(random.normal(0, 0.5, (channels, 1, 1, 3, 3)))
    return make_op(1, "GroupConvolution", [x, weights], **PLAIN, auto_pad="same_upper")


def transposed(x: Any, channels: int, random: np.random.Generator) -> Any:
    if int(x.get_output_shape(0)[2]) > SIDE:
        return x
    weights = constant(random.normal(0, 0.3, (channels, 4, 2, 2)))
    return make_op(1, "ConvolutionBackpropData", [x, weights], **PLAIN | {"strides": [2, 2]}, auto_pad="valid")


def pointwise(x: Any, channels: int, random: np.random.Generator) -> Any:
    weights = constant(random.normal(0, 0.5, (channels, channels, 1, 1)))
    return make_op(1, "Convolution", [x, weights], **PLAIN, auto_pad="valid")


def residual(x: Any, channels: int, random: np.random.Generator) -> Any:
    inner = pointwise(make_op(1, "Relu", [depthwise(x, channels, random)]), channels, random)
    return make_op(1, "Relu", [make_op(1, "Add", [x, inner])])


def gate(x: Any, channels: int, random: np.random.Generator) -> Any:
    mean = make_op(1, "ReduceMean", [x, constant([2, 3], np.int64)], keep_dims=True)
    return make_op(1, "Multiply", [x, make_op(1, "Sigmoid", [pointwise(mean, channels, random)])])


def concat(x: Any, channels: int, random: np.random.Generator) -> Any:
    return make_op(1, "Concat", [x, pointwise(x, channels, random)], axis=1) if channels < 16 else x


def attention(x: Any, channels: int, random: np.random.Generator) -> Any:
    """Over positions, each a vector of the channels; mixed by a sum in Einstein's notation, as Keras says it."""
    shape = [int(size) for size in x.get_output_shape(0)]
    if shape[2] > SIDE:
        return x
    flat = make_op(1, "Reshape", [x, constant([1, channels, -1], np.int64)], special_zero=False)
    text = make_op(1, "Transpose", [flat, constant([0, 2, 1], np.int64)])
    mixed = make_op(7, "Einsum", [text, constant(random.normal(0, 0.5, (channels, channels)))], equation="abc,ce->abe")
    seen = make_op(13, "ScaledDotProductAttention", [mixed, text, text], causal=False)
    back = make_op(1, "Transpose", [seen, constant([0, 2, 1], np.int64)])
    return make_op(1, "Reshape", [back, constant(shape, np.int64)], special_zero=False)


COMPOUND = {
    "depthwise": depthwise,
    "transposed": transposed,
    "residual": residual,
    "gate": gate,
    "concat": concat,
    "attention": attention,
}


def grow(x: Any, layer: Layer, random: np.random.Generator) -> Any:
    """One more layer on `x`; NCHW, as the converter leaves them."""
    kind, text = layer
    channels, side = int(x.get_output_shape(0)[1]), int(x.get_output_shape(0)[2])
    if kind == "convolution":
        kernel = (text["filters"], channels, text["kernel"], text["kernel"])
        weights = constant(random.normal(0, 0.5, kernel))
        own = {"strides": [text["stride"]] * 2, "dilations": [text["dilation"]] * 2}
        return make_op(1, "Convolution", [x, weights], **own, **UNPADDED, auto_pad="same_upper")
    if kind in COMPOUND:
        return COMPOUND[kind](x, channels, random)
    if kind.endswith("Pool"):
        if side < text["kernel"]:
            return x
        window = {
            "strides": [text["stride"]] * 2,
            "kernel": [text["kernel"]] * 2,
            "pads_begin": [0, 0],
            "pads_end": [0, 0],
        }
        own = {"dilations": [1, 1]} if kind == "MaxPool" else {"exclude-pad": True}
        return make_op(
            text["opset"], kind, [x], **window, **own, auto_pad=text["auto_pad"], rounding_type=text["rounding_type"]
        )
    if kind == "Pad":
        if side < 2:
            return x
        sizes = [constant(size, np.int64) for size in ([0, 0, 1, 0], [0, 0, 1, 1])]
        return make_op(12, "Pad", [x, *sizes, constant(0.25)], pad_mode=text["mode"])
    if kind == "Interpolate":
        if side > SIDE:
            return x
        sizes = constant([side * text["factor"]] * 2, np.int64)
        axes = constant([2, 3], np.int64)
        how = {"mode": "linear_onnx", "shape_calculation_mode": "sizes", "coordinate_transformation_mode": "half_pixel"}
        return make_op(11, "Interpolate", [x, sizes, axes], **how)
    if kind == "add":
        return make_op(1, "Add", [x, make_op(1, "Tanh", [x])])
    extra = {"approximation_mode": "TANH"} if kind == "Gelu" else {}
    return make_op(ACTIVATIONS[kind], kind, [x], **extra)


def network(chosen: list[Layer], seed: int) -> Any:
    import openvino as ov
    from openvino import opset1

    image = opset1.parameter([1, SIDE, SIDE, 3], np.uint8, name="image")
    random = np.random.default_rng(seed)
    x = make_op(1, "Transpose", [opset1.convert(image, "f32"), constant([0, 3, 1, 2], np.int64)])
    x = make_op(1, "Multiply", [x, constant(1 / 64)])
    for layer in chosen:
        x = grow(x, layer, random)
    x = make_op(1, "ReduceMean", [x, constant([2, 3], np.int64)], keep_dims=False)
    x = make_op(8, "Softmax", [x], axis=-1)
    x.set_friendly_name("probabilities")
    x.output(0).get_tensor().set_names({"probabilities"})
    return ov.Model([opset1.result(x.output(0))], [image], "random")


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(chosen=st.lists(layers, min_size=1, max_size=7), seed=st.integers(0, 2**16))
def test_lower_gives_the_same_numbers_when_the_network_is_any(chosen: list[Layer], seed: int) -> None:
    before = network(chosen, seed)
    images = np.random.default_rng(seed).integers(0, 256, (2, SIDE, SIDE, 3), dtype=np.uint8)
    lowered = lower(before, NCS2).model
    kinds = {node.get_type_name() for node in lowered.get_ops()}
    assert max(opset_of(node) for node in lowered.get_ops()) <= NCS2.opset
    assert not kinds & set(NCS2.avoided)
    assert lowered.output("probabilities").get_partial_shape() == before.output("probabilities").get_partial_shape()
    np.testing.assert_allclose(parity.predict(lowered, [images]), parity.predict(before, [images]), rtol=0, atol=2e-5)


@pytest.mark.legacy
@pytest.mark.parametrize("generation", ["2021", "2022"])
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(chosen=st.lists(layers, min_size=3, max_size=7), seed=st.integers(0, 2**16))
def test_lower_gives_the_same_numbers_when_an_older_runtime(
    tmp_path: Path, generation: str, chosen: list[Layer], seed: int
) -> None:
    images = np.random.default_rng(seed).integers(0, 256, (2, SIDE, SIDE, 3), dtype=np.uint8)
    xml = tmp_path / f"{seed}" / "model.xml"
    graphs.write(lower(network(chosen, seed), NCS2).model, xml, container=10, compress=False)
    match = legacy_openvino.compare(xml, compat.known().generations[generation], "fp32", images, Silent())
    assert match.passed, match
