"""Images of data sets, decoded in confined workers."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from toolkit.data.decoding import DecodingError, decode_file, decode_within, inspect_image
from toolkit.device.image_io import read_image, resize

from ..device.odd_images import bombs


@pytest.mark.parametrize("content", bombs())
def test_bomb_of_every_format_is_refused_from_its_header(content: bytes) -> None:
    with pytest.raises(DecodingError, match=r"pixels need .* of memory|that can be decoded"):
        inspect_image(content)


def test_decode_file_gives_what_reading_it_here_gives(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    pixels = np.random.default_rng(1).integers(0, 256, (40, 60, 3), np.uint8)
    cv2.imwrite(str(path), pixels)
    np.testing.assert_array_equal(decode_file(path, (16, 16), "center"), resize(read_image(path), (16, 16), "center"))
    assert decode_within(path.read_bytes(), 30).shape == (20, 30, 3)


def test_decode_file_names_a_file_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "bomb.png").write_bytes(bombs()[0])
    (tmp_path / "text.png").write_bytes(b"no image")
    for name, why in (("absent.png", "No such file"), ("text.png", "not an image"), ("bomb.png", "memory")):
        with pytest.raises(DecodingError, match=f"{name}: .*{why}"):
            decode_file(tmp_path / name, (16, 16), "center")
