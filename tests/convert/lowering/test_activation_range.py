from __future__ import annotations

import numpy as np
import openvino as ov
import pytest
from openvino import opset1

from toolkit.convert.lowering.activation_range import measure, refuse_overflow
from toolkit.errors import ConversionError

IMAGES = np.full((2, 4, 4, 3), 200, np.uint8)


def network(scale: float, after: float = 1.0) -> ov.Model:
    """The image times `scale`, then times `after`, then its mean."""
    image = opset1.parameter([1, 4, 4, 3], ov.Type.u8, name="image")
    large = opset1.multiply(opset1.convert(image, "f32"), opset1.constant(np.float32(scale)), name="large")
    small = opset1.multiply(large, opset1.constant(np.float32(after)), name="small")
    mean = opset1.reduce_mean(small, opset1.constant(np.array([1, 2])), keep_dims=False, name="mean")
    return ov.Model([opset1.result(mean)], [image], "net")


def test_measure_gives_the_largest_magnitude_of_each_layer() -> None:
    ranges = {layer.name: layer.largest for layer in measure(network(-10.0, 0.5), IMAGES)}
    assert (ranges["large"], ranges["small"], ranges["mean"]) == (2000, 1000, 1000)


def test_refuse_overflow_names_the_layer_beyond_the_range() -> None:
    with pytest.raises(ConversionError) as refused:
        refuse_overflow(measure(network(1000.0), IMAGES))
    assert [problem.where for problem in refused.value.problems] == ["large", "small", "mean"]
    assert "reaches 2e+05 on the test images, beyond FP16's largest number, 65,504" in refused.value.problems[0].what


def test_refuse_overflow_leaves_a_margin() -> None:
    with pytest.raises(ConversionError, match="too near to FP16's largest"):
        refuse_overflow(measure(network(200.0), IMAGES))
    refuse_overflow(measure(network(100.0), IMAGES))


def test_refuse_overflow_says_when_a_compiler_may_fuse_it_away() -> None:
    with pytest.raises(ConversionError, match="within range again at small") as refused:
        refuse_overflow(measure(network(1000.0, 0.001), IMAGES))
    assert len(refused.value.problems) == 1


def test_refuse_overflow_refuses_what_is_infinite_already() -> None:
    with pytest.raises(ConversionError, match="reaches inf"):
        refuse_overflow(measure(network(1e38), IMAGES))
