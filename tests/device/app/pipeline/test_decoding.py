from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.device import image_io
from toolkit.device.app.pipeline.decoding import decode_frame, downscale_factor, jpeg_size, prepare_frame
from toolkit.device.app.pipeline.messages import Frame, InputFormat
from toolkit.device.app.pipeline.topk import labels_above_threshold, top_k

FORM = InputFormat((224, 224), "resize")


def jpeg_of(height: int, width: int, seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return bytes(cv2.imencode(".jpg", cv2.blur(pixels, (3, 3)))[1])


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 90), st.integers(1, 90), st.integers(1, 64), st.integers(1, 64),
    st.sampled_from(["resize", "center"]), st.integers(0, 9),
)  # fmt: skip
def test_fitted_equals_what_reading_the_file_gives(
    rows: int, columns: int, height: int, width: int, crop: str, seed: int
) -> None:
    jpeg, input_format = jpeg_of(rows, columns, seed), InputFormat((height, width), crop)
    expected = image_io.resize(image_io.read_image(jpeg), input_format.size, crop)
    assert np.array_equal(prepare_frame(Frame(1, 0, jpeg=jpeg), input_format, exact=True), expected)


@pytest.mark.parametrize(("rows", "columns"), [(720, 1280), (1080, 1920), (480, 640), (449, 1000), (300, 300)])
@pytest.mark.parametrize("compressed", [True, False])
def test_fitted_is_closer_than_bilinear_when_it_shrinks_first(rows: int, columns: int, compressed: bool) -> None:
    coarse = np.random.default_rng(3).integers(0, 256, (rows // 20, columns // 20, 3), dtype=np.uint8)
    image = cv2.resize(coarse, (columns, rows), interpolation=cv2.INTER_CUBIC)
    jpeg = bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])[1])
    whole = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    frame = Frame(1, 0, jpeg=jpeg) if compressed else Frame(1, 0, pixels=whole)
    exact = prepare_frame(frame, FORM, exact=True).astype(int)
    shrunk = np.abs(prepare_frame(frame, FORM).astype(int) - exact)
    bilinear = np.abs(cv2.resize(whole, (224, 224))[..., ::-1].astype(int) - exact)
    assert shrunk.mean() <= bilinear.mean()
    assert shrunk.max() <= max(3, bilinear.max())


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 600), st.integers(1, 600))
def test_factor_leaves_image_no_smaller_than_network_input(rows: int, columns: int, height: int, width: int) -> None:
    factor = downscale_factor((rows, columns), InputFormat((height, width), "resize"))
    assert factor == 1 or min(rows, columns) / factor >= 1.5 * max(height, width)


@pytest.mark.parametrize("quality", [[], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1], [cv2.IMWRITE_JPEG_RST_INTERVAL, 2]])
def test_jpeg_size_is_read_without_decoding(quality: list[int]) -> None:
    jpeg = bytes(cv2.imencode(".jpg", np.zeros((37, 91, 3), np.uint8), quality)[1])
    assert jpeg_size(jpeg) == (37, 91)
    assert jpeg_size(jpeg[:30]) is None


@given(st.binary(max_size=100))
def test_jpeg_size_never_fails(content: bytes) -> None:
    result = jpeg_size(b"\xff\xd8" + content)
    assert result is None or len(result) == 2


HALVED = jpeg_of(480, 640, 0)[:9000] + b"\xff\xd9"


@pytest.mark.parametrize("factor", [1, 2, 8])
def test_decode_frame_refuses_a_halved_jpeg_with_an_end_marker(factor: int) -> None:
    with pytest.raises(ValueError, match="truncated JPEG: data is missing"):
        decode_frame(Frame(1, 0, jpeg=HALVED), factor)
    assert decode_frame(Frame(1, 0, jpeg=jpeg_of(480, 640, 0)), factor).shape[0] == 480 // factor


@pytest.mark.parametrize("jpeg", [b"", b"\xff\xd8", jpeg_of(40, 40, 0)[:-200], b"\xff\xd8 nonsense \xff\xd9"])
def test_pixels_of_refuses_what_is_damaged(jpeg: bytes) -> None:
    with pytest.raises(ValueError):
        decode_frame(Frame(1, 0, jpeg=jpeg))


def test_pixels_of_takes_padded_jpegs_as_some_cameras_send_them() -> None:
    jpeg = jpeg_of(20, 30, 1)
    assert decode_frame(Frame(1, 0, jpeg=jpeg + b"\0" * 9000)).shape == (20, 30, 3)


@given(st.lists(st.floats(0, 1, width=32), min_size=2, max_size=40))
def test_top_of_gives_the_largest_first(values: list[float]) -> None:
    labels = [str(index) for index in range(len(values))]
    top = top_k(np.array(values, np.float32), labels)
    assert [value for _, value in top] == sorted(values, reverse=True)[:5]
    assert all(values[int(label)] == value for label, value in top)


def test_top_of_one_value_is_the_second_labels() -> None:
    assert top_k(np.array([0.75], np.float32), ["no", "yes"]) == [("yes", 0.75), ("no", 0.25)]


def test_said_of_names_labels_above_half_when_there_may_be_many() -> None:
    manifest = {"labels": ["a", "b", "c"], "output": {"kind": "multi-sigmoid"}}
    answer = np.array([0.6, 0.2, 0.9], np.float32)
    assert labels_above_threshold(answer, manifest) == ["c", "a"]
    assert labels_above_threshold(answer, {"labels": ["a", "b", "c"], "output": {"kind": "softmax"}}) is None
