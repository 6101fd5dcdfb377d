from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.device import pictures
from toolkit.device.app.decoding import fitted, pixels_of
from toolkit.device.app.frames import Form, Frame
from toolkit.device.app.ranking import said_of, top_of


def jpeg_of(height: int, width: int, seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return bytes(cv2.imencode(".jpg", cv2.blur(pixels, (3, 3)))[1])


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 90), st.integers(1, 90), st.integers(1, 64), st.integers(1, 64),
    st.sampled_from(["resize", "centre"]), st.integers(0, 9),
)  # fmt: skip
def test_fitted_equals_what_reading_the_file_gives(
    rows: int, columns: int, height: int, width: int, crop: str, seed: int
) -> None:
    jpeg, form = jpeg_of(rows, columns, seed), Form((height, width), crop)
    expected = pictures.fit(pictures.read_picture(jpeg), form.size, crop)
    assert np.array_equal(fitted(pixels_of(Frame(1, 0, jpeg=jpeg)), form), expected)


@pytest.mark.parametrize("jpeg", [b"", b"\xff\xd8", jpeg_of(40, 40, 0)[:-200], b"\xff\xd8 nonsense \xff\xd9"])
def test_pixels_of_refuses_what_is_damaged(jpeg: bytes) -> None:
    with pytest.raises(ValueError):
        pixels_of(Frame(1, 0, jpeg=jpeg))


def test_pixels_of_takes_padded_jpegs_as_some_cameras_send_them() -> None:
    jpeg = jpeg_of(20, 30, 1)
    assert pixels_of(Frame(1, 0, jpeg=jpeg + b"\0" * 9000)).shape == (20, 30, 3)


@given(st.lists(st.floats(0, 1, width=32), min_size=2, max_size=40))
def test_top_of_gives_the_largest_first(values: list[float]) -> None:
    labels = [str(index) for index in range(len(values))]
    top = top_of(np.array(values, np.float32), labels)
    assert [value for _, value in top] == sorted(values, reverse=True)[:5]
    assert all(values[int(label)] == value for label, value in top)


def test_top_of_one_value_is_the_second_labels() -> None:
    assert top_of(np.array([0.75], np.float32), ["no", "yes"]) == [("yes", 0.75), ("no", 0.25)]


def test_said_of_names_labels_above_half_when_there_may_be_many() -> None:
    manifest = {"labels": ["a", "b", "c"], "output": {"kind": "multi-sigmoid"}}
    answer = np.array([0.6, 0.2, 0.9], np.float32)
    assert said_of(answer, manifest) == ["c", "a"]
    assert said_of(answer, {"labels": ["a", "b", "c"], "output": {"kind": "softmax"}}) is None
