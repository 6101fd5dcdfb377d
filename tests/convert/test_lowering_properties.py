"""Any small network: said in older words it gives the same numbers, and nothing newer is left in it."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from toolkit.compat import find_target
from toolkit.convert.lowering import lower, opset_of
from toolkit.convert.nodes import constant, make

NCS2 = find_target("ncs2")
SIDE = 12

Layer = tuple[str, dict[str, Any]]

convolutions = st.fixed_dictionaries(
    {"filters": st.sampled_from([2, 4, 6]), "kernel": st.sampled_from([1, 3]), "stride": st.sampled_from([1, 2])}
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
    st.tuples(st.just("AvgPool"), pools.map(lambda words: words | {"opset": 14})),
    st.tuples(st.sampled_from(["Relu", "HSigmoid", "Gelu", "SoftSign", "HSwish", "Swish"]), st.just({})),
    st.tuples(st.just("Pad"), st.fixed_dictionaries({"mode": st.sampled_from(["constant", "reflect", "edge"])})),
    st.tuples(st.just("Interpolate"), st.fixed_dictionaries({"factor": st.sampled_from([2, 3])})),
    st.tuples(st.just("add"), st.just({})),
)
ACTIVATIONS = {"Relu": 1, "HSigmoid": 5, "SoftSign": 9, "HSwish": 4, "Swish": 4, "Gelu": 7}


def grow(x: Any, layer: Layer, random: np.random.Generator) -> Any:
    """One more layer on `x`; NCHW, as the converter leaves them."""
    kind, words = layer
    channels, side = int(x.get_output_shape(0)[1]), int(x.get_output_shape(0)[2])
    if kind == "convolution":
        kernel = (words["filters"], channels, words["kernel"], words["kernel"])
        weights = constant(random.normal(0, 0.5, kernel))
        steps = {"strides": [words["stride"]] * 2, "dilations": [1, 1], "pads_begin": [0, 0], "pads_end": [0, 0]}
        return make(1, "Convolution", [x, weights], **steps, auto_pad="same_upper")
    if kind.endswith("Pool"):
        if side < words["kernel"]:
            return x
        window = {
            "strides": [words["stride"]] * 2,
            "kernel": [words["kernel"]] * 2,
            "pads_begin": [0, 0],
            "pads_end": [0, 0],
        }
        own = {"dilations": [1, 1]} if kind == "MaxPool" else {"exclude-pad": True}
        return make(
            words["opset"], kind, [x], **window, **own, auto_pad=words["auto_pad"], rounding_type=words["rounding_type"]
        )
    if kind == "Pad":
        if side < 2:
            return x
        sizes = [constant(size, np.int64) for size in ([0, 0, 1, 0], [0, 0, 1, 1])]
        return make(12, "Pad", [x, *sizes, constant(0.25)], pad_mode=words["mode"])
    if kind == "Interpolate":
        if side > SIDE:
            return x
        sizes = constant([side * words["factor"]] * 2, np.int64)
        axes = constant([2, 3], np.int64)
        how = {"mode": "linear_onnx", "shape_calculation_mode": "sizes", "coordinate_transformation_mode": "half_pixel"}
        return make(11, "Interpolate", [x, sizes, axes], **how)
    if kind == "add":
        return make(1, "Add", [x, make(1, "Tanh", [x])])
    extra = {"approximation_mode": "TANH"} if kind == "Gelu" else {}
    return make(ACTIVATIONS[kind], kind, [x], **extra)


def network(chosen: list[Layer], seed: int) -> Any:
    import openvino as ov
    from openvino import opset1

    picture = opset1.parameter([1, 3, SIDE, SIDE], np.float32, name="picture")
    random = np.random.default_rng(seed)
    x = picture
    for layer in chosen:
        x = grow(x, layer, random)
    x = make(1, "ReduceMean", [x, constant([2, 3], np.int64)], keep_dims=False)
    x = make(8, "Softmax", [x], axis=-1)
    x.output(0).get_tensor().set_names({"probabilities"})
    return ov.Model([opset1.result(x.output(0))], [picture], "random")


def run(model: Any, value: Any) -> Any:
    import openvino as ov

    return ov.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(value)[0]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(chosen=st.lists(layers, min_size=1, max_size=7), seed=st.integers(0, 2**16))
def test_lower_gives_the_same_numbers_when_the_network_is_any(chosen: list[Layer], seed: int) -> None:
    before = network(chosen, seed)
    value = np.random.default_rng(seed).normal(0, 1, (1, 3, SIDE, SIDE)).astype(np.float32)
    lowered = lower(before, NCS2).model
    kinds = {node.get_type_name() for node in lowered.get_ops()}
    assert max(opset_of(node) for node in lowered.get_ops()) <= NCS2.opset
    assert not kinds & set(NCS2.avoided)
    assert lowered.output("probabilities").get_partial_shape() == before.output("probabilities").get_partial_shape()
    np.testing.assert_allclose(run(lowered, value), run(before, value), rtol=0, atol=1e-5)
