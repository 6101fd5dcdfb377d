from __future__ import annotations

import pytest

from toolkit.convert.imported.file_facts import PixelScaling
from toolkit.convert.imported.formats.model_file import IntegerScale
from toolkit.convert.imported.options import SCALINGS, choose_scaling
from toolkit.errors import UsageError


@pytest.mark.parametrize(
    ("dtype", "scale", "zero_point", "expected"),
    [
        ("i8", 1.0, -128, "none"),
        ("u8", 1.0, 0, "none"),
        ("i8", 1 / 255, -128, "unit"),
        ("u8", 1 / 255, 0, "unit"),
        ("i8", 1 / 127.5, -1, "symmetric"),
        ("u8", 1 / 127.5, 127, "symmetric"),
    ],
)
def test_choose_scaling_knows_the_usual_ranges_of_integers(
    dtype: str, scale: float, zero_point: int, expected: str
) -> None:
    assert choose_scaling(None, dtype, IntegerScale(scale, zero_point), None, labeled=False) == SCALINGS[expected]


def test_choose_scaling_asks_when_integers_stand() -> None:
    with pytest.raises(UsageError, match=r"from -124 to 141\.7"):
        choose_scaling(None, "i8", IntegerScale(1.0421, -9), None, labeled=False)
    assert choose_scaling("caffe", "i8", IntegerScale(1.0421, -9), None, labeled=False) == SCALINGS["caffe"]


def test_choose_scaling_takes_the_nearest_range_with_labels() -> None:
    assert choose_scaling(None, "i8", IntegerScale(1.0421, -9), None, labeled=True) == SCALINGS["caffe"]
    assert choose_scaling(None, "u8", IntegerScale(0.93, 0), None, labeled=True) == SCALINGS["none"]
    with pytest.raises(UsageError, match="does not say how to scale pixels to them"):
        choose_scaling(None, "i8", IntegerScale(0.05, -9), None, labeled=True)


def test_choose_scaling_takes_the_option_before_what_the_file() -> None:
    known = PixelScaling((1.0, 2.0, 3.0))
    assert choose_scaling(None, "f32", None, known, labeled=False) == known
    assert choose_scaling("127/128", "f32", None, known, labeled=False) == PixelScaling((127.0,) * 3, (128.0,) * 3)
    with pytest.raises(UsageError, match="does not declare the scaling of its pixels"):
        choose_scaling(None, "f32", None, None, labeled=True)


def test_choose_scaling_takes_integers_without_a_scale_as_pixels() -> None:
    assert choose_scaling(None, "u8", None, None, labeled=False) == PixelScaling()
    assert choose_scaling(None, "i8", None, None, labeled=False) == PixelScaling((128.0,) * 3)
    with pytest.raises(UsageError, match="without a scale of its own"):
        choose_scaling("unit", "u8", None, None, labeled=False)
