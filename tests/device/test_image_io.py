from __future__ import annotations

import contextlib
import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from toolkit.device import image_io, jpeg
from toolkit.device.image_header import read_header
from toolkit.device.image_io import ImageError, ImageTooLargeError, read_image, resize

Pixels = npt.NDArray[np.uint8]


def _beside(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


files = _beside("image_files")
odd = _beside("odd_images")

RED, BLUE = (200, 30, 60), (20, 60, 220)
UPRIGHT = {
    1: lambda stored: stored,
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: lambda stored: stored.transpose(1, 0, 2),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored, 2).transpose(1, 0, 2),
    8: np.rot90,
}


def quarters() -> Pixels:
    """Four colors in an image higher than wide would be, so that no turn or mirror looks like another."""
    image = np.zeros((32, 48, 3), np.uint8)
    image[:16, :24], image[:16, 24:], image[16:, :24], image[16:, 24:] = (
        RED,
        BLUE,
        (30, 180, 40),
        (230, 220, 90),
    )
    return image


def noise(height: int = 40, width: int = 56) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(suffix: str, image: npt.NDArray[np.generic]) -> bytes:
    return cv2.imencode(suffix, image)[1].tobytes()


def close(image: Pixels, expected: npt.ArrayLike, tolerance: int = 4) -> bool:
    return bool(np.abs(image.astype(int) - np.asarray(expected, int)).max() <= tolerance)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_read_image_applies_the_orientation_of_a_jpeg(orientation: int) -> None:
    image = read_image(files.rotated_jpeg(quarters(), orientation))
    expected = UPRIGHT[orientation](quarters())
    assert image.shape == expected.shape
    assert close(image[4:-4:8, 4:-4:8], expected[4:-4:8, 4:-4:8], 12)


@pytest.mark.parametrize("order", [">", "<"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_read_image_applies_the_orientation_of_a_png(orientation: int, order: str) -> None:
    opaque = np.dstack([quarters(), np.full((32, 48), 255, np.uint8)])
    content = files.png(opaque, 6, [(b"eXIf", files.exif(orientation, order))])
    assert np.array_equal(read_image(content), UPRIGHT[orientation](quarters()))


@pytest.mark.parametrize("adobe", [0, None])
def test_read_image_has_the_right_colors_when_a_jpeg_is_cmyk(adobe: int | None) -> None:
    # Stored inverted, as Adobe does: 255 is no ink, so with no black ink the samples are the red, green and blue.
    content = files.cmyk_jpeg([(*RED, 255), (*BLUE, 255), (*RED, 128)], adobe)
    image = read_image(content)
    assert close(image[4, 4], RED)
    assert close(image[4, 12], BLUE)
    assert close(image[4, 20], [value * 128 // 255 for value in RED])


def test_read_image_has_the_right_colors_when_a_jpeg_is_ycck() -> None:
    red, green, blue = RED
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    ycc = (round(luma), round(128 + (blue - luma) / 1.772), round(128 + (red - luma) / 1.402))
    # YCCK holds the CMY inks as if they were RGB; inverted as Adobe stores them, that is the color's complement.
    complement = (255 - ycc[0], 256 - ycc[1], 256 - ycc[2])
    image = read_image(files.cmyk_jpeg([(*complement, 255)], 2))
    assert close(image[4, 4], RED, 6)


def test_read_image_keeps_the_high_byte_when_a_png_has_16_bits() -> None:
    deep = np.zeros((8, 9, 3), np.uint16) + np.array([40000, 20000, 300], np.uint16)
    assert np.array_equal(read_image(files.png(deep, 2))[3, 3], [40000 >> 8, 20000 >> 8, 1])
    assert np.array_equal(read_image(files.png(np.full((8, 9), 40000, np.uint16), 0))[3, 3], [156] * 3)


def test_read_image_lays_a_16_bit_png_over_white() -> None:
    deep = np.zeros((8, 9, 4), np.uint16) + np.array([0, 0, 0, 128 << 8], np.uint16)
    assert close(read_image(files.png(deep, 6))[3, 3], [127] * 3, 1)


def test_read_image_looks_colors_up_when_a_png_has_a_palette() -> None:
    indices = np.array([[0, 1], [1, 0]], np.uint8)
    palette = (b"PLTE", bytes((*RED, *BLUE)))
    assert np.array_equal(read_image(files.png(indices, 3, [palette])), [[RED, BLUE], [BLUE, RED]])


def test_read_image_lays_a_palette_over_white() -> None:
    indices = np.array([[0, 1]], np.uint8)
    content = files.png(indices, 3, [(b"PLTE", bytes((*RED, *BLUE))), (b"tRNS", bytes((0,)))])
    assert np.array_equal(read_image(content), [[(255, 255, 255), BLUE]])


def test_read_image_lays_it_over_white_when_there_is_alpha() -> None:
    rows = np.array([[(*RED, 255), (*RED, 0), (0, 0, 0, 128)]], np.uint8)
    assert np.array_equal(read_image(files.png(rows, 6)), [[RED, (255, 255, 255), (127, 127, 127)]])


def test_read_image_lays_it_over_white_when_gray_has_alpha() -> None:
    rows = np.array([[(90, 255), (90, 0)]], np.uint8)
    assert np.array_equal(read_image(files.png(rows, 4)), [[(90, 90, 90), (255, 255, 255)]])


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".pgm", ".bmp"])
def test_read_image_repeats_the_channel_when_it_is_gray(suffix: str) -> None:
    image = read_image(encoded(suffix, np.full((8, 9), 77, np.uint8)))
    assert image.shape == (8, 9, 3)
    assert close(image, 77, 1)


@pytest.mark.parametrize("suffix", [".png", ".ppm", ".bmp", ".webp", ".jpg"])
def test_read_image_is_rgb_whatever_the_format(suffix: str) -> None:
    image = read_image(encoded(suffix, quarters()[..., ::-1]))
    assert close(image[8, 8], RED, 8)
    assert image.dtype == np.uint8


@pytest.mark.parametrize("name", ["with two  spaces.png", "Größe — 顔 ñ.png", "ünï.PNG"])
def test_read_image_reads_it_when_the_name_is_unusual(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(encoded(".png", noise()))
    assert np.array_equal(read_image(tmp_path / name), noise()[..., ::-1])
    assert np.array_equal(read_image(str(tmp_path / name)), noise()[..., ::-1])


@pytest.mark.parametrize("part", [0.3, 0.6, 0.9, 0.999])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_read_image_refuses_when_it_is_truncated(tmp_path: Path, suffix: str, part: float) -> None:
    content = encoded(suffix, noise())
    path = tmp_path / f"half an image{suffix}"
    path.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(ImageError, match=re.escape(str(path)) + ": truncated"):
        read_image(path)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.6])
@pytest.mark.parametrize(
    "options", [{}, {"subsampling": 0}, {"restart_marker_blocks": 2}, {"progressive": True, "quality": 90}]
)
@pytest.mark.parametrize("mode", ["rgb", "gray"])
def test_read_image_refuses_a_cut_jpeg_with_an_end_marker(mode: str, options: dict[str, Any], share: float) -> None:
    large = odd.modes()[mode].resize((360, 240))
    for orientation in (1, 6):
        exif = odd.Image.Exif()
        exif[0x0112] = orientation
        whole = odd.saved(large, "JPEG", exif=exif, **options)
        cut = whole[: int(share * len(whole))] + b"\xff\xd9"
        with pytest.raises(ImageError, match="truncated JPEG"):
            read_image(cut)
        assert max(read_image(whole + b"\0" * 99).shape) == 360


@pytest.mark.parametrize("progressive", [False, True])
def test_read_image_takes_a_whole_jpeg_with_gray_corners(progressive: bool) -> None:
    gray = np.full((40, 60, 3), 128, np.uint8)
    gray[10:30, 20:40] = 200
    content = odd.saved(odd.Image.fromarray(gray), "JPEG", quality=95, progressive=progressive)
    assert (read_image(content)[-1, -1] == 128).all()


def test_read_image_refuses_a_jpeg_wherever_it_was_cut() -> None:
    content = encoded(".jpg", noise())
    for part in range(3, len(content)):
        with pytest.raises(ImageError, match="truncated JPEG"):
            read_image(content[:part])


def test_scan_ends_are_where_a_foreign_marker_is() -> None:
    chooser = np.random.default_rng(7)
    for length in range(2, 300):
        content = bytes(chooser.choice([0, 1, 0xCF, 0xD0, 0xD7, 0xD8, 0xDA, 0xFF, 0xFF, 0xFF], length).tolist())
        expected = [result.start(1) - 1 for result in re.finditer(rb"\xff+([^\x00\xff\xd0-\xd7])", content)]
        assert jpeg._scan_ends(content).tolist() == expected


def test_read_image_refuses_when_a_jpeg_is_filled_up_with_zeros() -> None:
    content = encoded(".jpg", noise())
    half = len(content) // 2
    with pytest.raises(ImageError, match="truncated JPEG"):
        read_image(content[:half] + bytes(len(content) - half))


def test_read_image_refuses_when_a_progressive_jpeg_lacks_scans() -> None:
    content = cv2.imencode(".jpg", noise(), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    assert read_image(content).shape == (40, 56, 3)
    with pytest.raises(ImageError, match="truncated JPEG"):
        read_image(content[: len(content) // 2])


@pytest.mark.parametrize("quality", [75, 95])
@pytest.mark.parametrize("part", [0.35, 0.5, 0.7, 0.9, 0.97])
def test_read_image_refuses_a_progressive_jpeg_cut_in_any_scan(part: float, quality: int) -> None:
    image = cv2.resize(noise(), (320, 240), interpolation=cv2.INTER_CUBIC)
    settings = [cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_QUALITY, quality]
    content = cv2.imencode(".jpg", image, settings)[1].tobytes()
    assert read_image(content).shape == (240, 320, 3)
    with pytest.raises(ImageError, match="truncated JPEG"):
        read_image(content[: int(part * len(content))] + b"\xff\xd9")


def test_read_image_reads_it_when_more_follows_the_end_of_a_jpeg() -> None:
    content = encoded(".jpg", noise())
    assert np.array_equal(read_image(content + b"a film, log"), read_image(content))


def test_read_image_refuses_when_a_bit_of_a_png_is_flipped() -> None:
    content = bytearray(encoded(".png", noise()))
    content[len(content) // 2] ^= 1
    with pytest.raises(ImageError, match="damaged PNG"):
        read_image(bytes(content))


@pytest.mark.parametrize(
    "content", [b"hello " * 50, b"\xff\xd8\xff", b"RIFF\x04\x00\x00\x00WEBP", b"P5\n9 9\n255\n1234"]
)
def test_read_image_refuses_when_it_is_no_image(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "note.jpg"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=re.escape(str(path))):
        read_image(path)


def test_read_header_refuses_an_offset_beyond_any_file() -> None:
    with pytest.raises(ValueError, match="truncated TIFF"):
        read_header(b"II+\0\x08\0\0\0" + b"\xff" * 8 + bytes(64))


def test_read_image_refuses_when_the_file_is_empty(tmp_path: Path) -> None:
    (tmp_path / "nothing.png").touch()
    with pytest.raises(ImageError, match=r"nothing\.png: empty file"):
        read_image(tmp_path / "nothing.png")


def test_read_image_refuses_when_there_is_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"gone\.png: No such file"):
        read_image(tmp_path / "gone.png")


def test_fit_is_the_same_when_the_size_fits_already() -> None:
    assert np.array_equal(resize(noise(), (40, 56), "resize"), noise())


def test_fit_averages_when_it_shrinks() -> None:
    expected = noise(40, 56).reshape(20, 2, 28, 2, 3).mean((1, 3))
    assert close(resize(noise(40, 56), (20, 28), "resize"), expected.round(), 1)


@pytest.mark.parametrize("size", [(80, 112), (80, 28), (20, 112), (13, 7)])
def test_fit_has_the_size_when_sides_grow_or_shrink(size: tuple[int, int]) -> None:
    fitted = resize(noise(), size, "resize")
    assert fitted.shape == (*size, 3)
    assert fitted.flags.c_contiguous


@pytest.mark.parametrize("wide", [True, False])
def test_fit_takes_the_middle_when_cropped(wide: bool) -> None:
    image = noise(40, 60) if wide else noise(60, 40)
    middle = image[:, 10:50] if wide else image[10:50]
    assert np.array_equal(resize(image, (40, 40), "center"), middle)


def test_fit_refuses_when_the_crop_is_unknown() -> None:
    with pytest.raises(ValueError, match="neither"):
        resize(noise(), (8, 8), "squash")


def test_read_image_agrees_with_pillow_on_odd_images() -> None:
    differing, images = {}, list(odd.odd_images())
    for name, content in images:
        ours, theirs = read_image(content), odd.reference(content)
        most = 4 if re.match("jpeg|mpo|webp .* False|tiff jpeg", name) else 1  # lossy, and rounding
        if ours.shape != theirs.shape or np.abs(ours.astype(int) - theirs).max() > most:
            differing[name] = ours.shape
    assert differing == {}
    assert len(images) > 200


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_read_image_refuses_12_bits_in_16(suffix: str) -> None:
    content = encoded(suffix, np.full((4, 4), 4000, np.uint16))
    with pytest.raises(ImageError, match=r"largest is 4000.*scale them to 0…65535"):
        read_image(content)
    assert read_image(encoded(suffix, np.zeros((4, 4), np.uint16))).max() == 0


def test_read_image_refuses_a_large_image_from_its_header(monkeypatch: pytest.MonkeyPatch) -> None:
    content = encoded(".png", np.zeros((4000, 4000), np.uint8))
    with monkeypatch.context() as patch:
        patch.setattr(cv2, "imdecode", _must_not_decode)
        with pytest.raises(ImageTooLargeError, match=r"4000 x 4000 pixels need 48 MB of memory, more than .* 10 MB$"):
            read_image(content, 10_000_000)
    assert read_image(content, 50_000_000).shape == (4000, 4000, 3)


def test_read_image_refuses_a_jpeg_without_a_scan() -> None:
    """Found by fuzzing."""
    content = encoded(".jpg", np.zeros((9, 13, 3), np.uint8))
    with pytest.raises(ImageError, match="truncated JPEG"):
        read_image(content[: content.index(b"\xff\xda")] + b"\xff\xd9")


@pytest.mark.parametrize("content", odd.bombs())
def test_read_image_refuses_a_bomb_of_every_format(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imdecode", _must_not_decode)
    with pytest.raises(ImageTooLargeError, match=r"TOOLKIT_MAX_IMAGE_MB raises it|that can be decoded"):
        read_image(content)


def _must_not_decode(*_: object) -> None:
    pytest.fail("the pixels are decoded before the size is known")


@given(st.sampled_from([content for _, content in odd.odd_images()][::7]), st.data())
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
def test_read_image_only_refuses_whatever_the_bytes(content: bytes, data: st.DataObject) -> None:
    changed = bytearray(content[: data.draw(st.integers(1, len(content)))])
    for _ in range(data.draw(st.integers(0, 8))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ImageError):
        read_image(bytes(changed), 10_000_000)


def test_memory_budget_follows_the_available_memory(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 900000 kB\nMemAvailable: 400000 kB\n")
    assert image_io.memory_budget(str(meminfo)) == 400_000 * 1024 // 8
    meminfo.write_text("nothing\n")
    assert image_io.memory_budget(str(meminfo)) == image_io.MAX_BYTES
    assert 0 < image_io.memory_budget() <= image_io.MAX_BYTES
