"""The two ends of a graph, and the order in which it takes an image's pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from toolkit.convert import graphs, parity
from toolkit.convert.lowering.ops import constant, make_op

SIZE = (7, 9)


def network(*, turned_first: bool) -> Any:
    """u8 [1,7,9,3] to [1,2], as the tracer leaves it: the transpose at once, or after the scaling."""
    import openvino as ov
    from openvino import opset1

    x = image = opset1.parameter([1, *SIZE, 3], np.uint8, name="image")
    x = opset1.convert(x, "f32")
    to_planes = constant([0, 3, 1, 2], np.int64)
    x = (
        make_op(1, "Transpose", [x, to_planes])
        if turned_first
        else make_op(1, "Multiply", [x, constant([0.1, 0.2, 0.3])])
    )
    x = make_op(1, "Multiply", [x, constant(0.01)]) if turned_first else make_op(1, "Transpose", [x, to_planes])
    weights = constant(np.random.default_rng(2).normal(0, 0.2, (2, 3, 3, 3)))
    steps = {"strides": [1, 1], "dilations": [1, 1], "pads_begin": [0, 0], "pads_end": [0, 0]}
    x = make_op(1, "Convolution", [x, weights], **steps, auto_pad="valid")
    x = make_op(1, "ReduceMean", [x, constant([2, 3], np.int64)], keep_dims=False)
    return ov.Model([opset1.result(make_op(1, "Softmax", [x], axis=1).output(0))], [image], "one")


@pytest.mark.parametrize(("turned_first", "transposes"), [(True, 0), (False, 2)])
def test_take_planes_answers_alike_when_the_image_comes(turned_first: bool, transposes: int) -> None:
    model = network(turned_first=turned_first)
    images = np.random.default_rng(3).integers(0, 256, (3, *SIZE, 3), dtype=np.uint8)
    before = parity.predict(model, [images])
    graphs.set_nchw_input(model)
    assert tuple(model.input(0).get_shape()) == (1, 3, *SIZE)
    assert [node.get_type_name() for node in model.get_ops()].count("Transpose") == transposes
    np.testing.assert_allclose(parity.predict(model, [images]), before, rtol=0, atol=1e-6)
