from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from toolkit.convert.lowering import fp16_range
from toolkit.errors import ConversionError


def scaled_by(values: Any) -> Any:
    """A model that multiplies its input by those values."""
    import openvino as ov
    from openvino import opset1

    x = opset1.parameter([1, len(values)], np.float32)
    weights = opset1.constant(np.array([values], np.float32))
    weights.set_friendly_name("weights")
    product = opset1.multiply(x, weights)
    product.set_friendly_name("scale")
    return ov.Model([product], [x])


def test_losses_is_empty_when_all_fits() -> None:
    assert fp16_range.find_losses(scaled_by([0.0, 1e-7, -65504.0, 3.0])) == ()


def test_check_names_the_constant_when_values_would_be_clamped() -> None:
    result = fp16_range.find_losses(scaled_by([1e5, -7e4, 2.0]))
    with pytest.raises(ConversionError, match=r"weights, read by scale: 2 of 3 values.*100000"):
        fp16_range.refuse_losses(result)


def test_check_names_the_constant_when_all_would_vanish() -> None:
    with pytest.raises(ConversionError, match="would become 0"):
        fp16_range.refuse_losses(fp16_range.find_losses(scaled_by([1e-9, 0.0, -2e-10])))


def test_check_lets_pass_when_only_some_vanish() -> None:
    (loss,) = fp16_range.find_losses(scaled_by([1e-9, 1.0]))
    assert (loss.vanished, loss.serious) == (1, False)
    fp16_range.refuse_losses([loss])


def test_vanishes_below_is_where_numpy_rounds_to_zero() -> None:
    below, above = np.float32(fp16_range.VANISHES_BELOW) * np.float32([0.999, 1.001])
    assert (np.float16(below), np.float16(above) > 0) == (0.0, True)
