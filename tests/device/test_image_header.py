from __future__ import annotations

import functools
import io
import struct
import time
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from toolkit.device.image_header import read_header
from toolkit.device.image_io import ImageError, read_image

RGBA = np.random.default_rng(1).integers(0, 256, (20, 30, 4), dtype=np.uint8)
MODES = ("RGBA", "LA", "P", "L", "RGB", "1", "I;16")
LOSSY = {"JPEG", "AVIF"}


@functools.cache
def encoded(format_: str, mode: str) -> bytes:
    options: dict[str, object] = {"lossless": True} if format_ == "WEBP" else {}
    if mode == "I;16":
        image = Image.fromarray(RGBA[..., 0].astype(np.uint16) * 257)
    elif mode == "P":
        image, options["transparency"] = Image.fromarray(RGBA).convert("P"), 3
    else:
        image = Image.fromarray(RGBA).convert(mode)
    stream = io.BytesIO()
    image.save(stream, format_, **options)
    return stream.getvalue()


def cases() -> list[tuple[str, str]]:
    able = {
        "PNG": MODES,
        "WEBP": ("RGBA", "LA", "P", "L", "RGB"),
        "TIFF": ("RGBA", "L", "RGB", "1", "I;16"),
        "GIF": ("P", "L", "RGB"),
        "JPEG2000": ("RGBA", "L", "RGB"),
        "BMP": ("RGBA", "P", "L", "RGB", "1"),
        "PPM": ("L", "RGB", "1"),
        "JPEG": ("L", "RGB"),
        "AVIF": ("RGBA", "RGB"),
    }
    return [(name, mode) for name, modes in able.items() for mode in modes]


def over_white(content: bytes) -> np.ndarray:
    image = Image.open(io.BytesIO(content))
    if image.mode.startswith("I"):
        return np.repeat((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8)[..., None], 3, 2)
    if not image.has_transparency_data:
        return np.asarray(image.convert("RGB"))
    paper = Image.new("RGBA", image.size, "white")
    return np.asarray(Image.alpha_composite(paper, image.convert("RGBA")).convert("RGB"))


@pytest.mark.parametrize(("format_", "mode"), cases())
def test_read_image_gives_what_pillow_shows_on_white(format_: str, mode: str) -> None:
    content = encoded(format_, mode)
    header = read_header(content)
    assert header is not None
    assert (header.width, header.height) == (30, 20)
    difference = np.abs(read_image(content).astype(int) - over_white(content).astype(int)).max()
    assert difference <= (12 if format_ in LOSSY else 1)


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_read_image_shows_white_where_a_gray_png_is_transparent(depth: int) -> None:
    most = (1 << depth) - 1
    rows = b"".join(
        b"\x00"
        + int(f"{0:0{depth}b}" + f"{most:0{depth}b}" + "0" * (-2 * depth % 8), 2).to_bytes(-(-2 * depth // 8), "big")
        for _ in range(2)
    )

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", 2, 2, depth, 0, 0, 0, 0)
    parts = [(b"IHDR", head), (b"tRNS", b"\x00\x00"), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    content = b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)
    assert (read_image(content) == 255).all()


def test_read_image_refuses_gray_tiff_with_transparency() -> None:
    with pytest.raises(ImageError, match="gray TIFF with transparency"):
        read_image(encoded("TIFF", "LA"))


def test_read_image_refuses_12_bits_in_16() -> None:
    stream = io.BytesIO()
    Image.fromarray(RGBA[..., 0].astype(np.uint16) * 16).save(stream, "PNG")
    with pytest.raises(ImageError, match="holds 12 bits or less"):
        read_image(stream.getvalue())


SIZES = {
    "PNG": (">II", b"IHDR", 4),
    "JPEG": (">HH", b"\xff\xc0", 5),
    "GIF": ("<HH", b"GIF8", 6),
    "BMP": ("<ii", b"BM", 18),
    "AVIF": (">II", b"ispe", 8),
    "JPEG2000": (">II", b"\xff\x4f\xff\x51", 8),
}
"""How a size is written, after which bytes, and how far behind their begin."""


def bomb(format_: str, side: int) -> bytes:
    """A small file whose header promises side x side pixels."""
    if format_ == "PPM":
        return b"P6\n%d %d\n255\n" % (side, side)
    content = bytearray(encoded(format_, "RGB"))
    if format_ == "WEBP":
        content[21:25] = struct.pack("<I", 16383 | 16383 << 14)
    elif format_ == "TIFF":
        for tag in (256, 257):
            at = next(
                at for at in range(len(content)) if content[at : at + 2] == struct.pack("<H", tag) and at % 2 == 0
            )
            content[at + 2 : at + 12] = struct.pack("<HII", 4, 1, side)
    else:
        layout, mark, offset = SIZES[format_]
        struct.pack_into(layout, content, content.index(mark) + offset, side, side)
    return bytes(content)


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "GIF", "BMP", "PPM", "WEBP", "TIFF", "AVIF", "JPEG2000"])
def test_read_image_refuses_a_bomb_by_its_header(format_: str) -> None:
    content = bomb(format_, 60_000)
    begin = time.monotonic()
    tracemalloc.start()
    with pytest.raises(ImageError, match=r"too large: .* pixels need .* MB, and the limit is 512 MB; TOOLKIT_MAX"):
        read_image(content)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()
    assert time.monotonic() - begin < 1


def test_read_image_heeds_its_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    content = encoded("PNG", "RGB")
    with pytest.raises(ImageError, match="and the limit is 0 MB"):
        read_image(content, budget_bytes=1000)
    monkeypatch.setenv("TOOLKIT_MAX_IMAGE_MB", "1")
    assert read_image(content).shape == (20, 30, 3)


@settings(deadline=None)
@given(st.sampled_from([case for case in cases() if case[0] != "PPM"]), st.integers(0, 400), st.integers(0, 255))
def test_read_header_never_fails(case: tuple[str, str], place: int, value: int) -> None:
    content = bytearray(encoded(*case))
    content[min(place, len(content) - 1)] = value
    for end in (len(content), place):
        header = read_header(bytes(content[:end]))
        assert header is None or header.decoded_bytes > 0


@given(st.binary(max_size=300))
def test_read_image_refuses_any_other_bytes(content: bytes) -> None:
    with pytest.raises(ImageError):
        read_image(content)
