"""Image files of every container, color type, bit depth, transparency and orientation, and what Pillow reads in them."""

from __future__ import annotations

import io
import itertools
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

Pixels = npt.NDArray[np.uint8]

HEIGHT, WIDTH = 24, 36
ORIENTATIONS = (None, *range(1, 9))


def smooth(channels: int, seed: int = 0) -> Pixels:
    """Soft shapes, which JPEG keeps well; u8 [height, width, channels]."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, channels)).astype(np.float32)
    large = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR).reshape(HEIGHT, WIDTH, channels)
    return np.asarray(large.clip(0, 255), np.uint8)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The bytes of a file of that format."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def modes() -> dict[str, Image.Image]:
    """One image of each color type."""
    rgb, gray, alpha = (Image.fromarray(smooth(*of).squeeze()) for of in ((3, 1), (1, 2), (1, 3)))
    return {
        "rgb": rgb,
        "gray": gray,
        "rgba": Image.merge("RGBA", (*rgb.split(), alpha)),
        "la": Image.merge("LA", (gray, alpha)),
        "palette": rgb.quantize(16),
        "bitmap": gray.point(lambda value: 255 * (value > 120)).convert("1"),
        "gray16": Image.fromarray(smooth(1, 4)[..., 0].astype(np.uint16) * 257 + 3),
    }


def odd_images() -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each file."""
    yield from _oriented()
    yield from _transparent()
    yield from _animated()
    yield from _plain()
    yield from _deep()


def _oriented() -> Iterator[tuple[str, bytes]]:
    held = modes()
    for orientation in ORIENTATIONS:
        exif = Image.Exif()
        if orientation:
            exif[0x0112] = orientation
        for name in ("rgb", "gray"):
            yield f"jpeg {name} {orientation}", saved(held[name], "JPEG", quality=95, exif=exif)
        for name, image in held.items():
            yield f"png {name} {orientation}", saved(image, "PNG", exif=exif)
        for name in ("rgb", "rgba"):
            for lossless in (True, False):
                options = {
                    "lossless": lossless,
                    "exact": True,
                    "quality": 95,
                    **({"exif": exif} if orientation else {}),
                }
                yield f"webp {name} {lossless} {orientation}", saved(held[name], "WEBP", **options)
        for name, image in held.items():
            for compression in (None, "tiff_lzw", "tiff_deflate", "packbits"):
                if name != "la" and (compression is None or orientation == 6):
                    info = {0x0112: orientation} if orientation else {}
                    content = saved(image, "TIFF", compression=compression, tiffinfo=info)
                    yield f"tiff {name} {compression} {orientation}", content


def _transparent() -> Iterator[tuple[str, bytes]]:
    held = modes()
    for name in ("rgb", "gray", "palette", "bitmap", "gray16"):
        key = held[name].getpixel((3, 3))
        yield f"png {name} with a transparent color", saved(held[name], "PNG", transparency=key)
    yield "png palette with alpha", saved(held["palette"], "PNG", transparency=bytes(range(0, 256, 16)))
    yield "gif with a transparent color", saved(held["palette"], "GIF", transparency=3)
    yield "gif rgba", saved(held["rgba"], "GIF")
    yield "png rgb with a transparent color, turned", _turned(saved(held["rgb"], "PNG", transparency=(9, 9, 9)))


def _turned(png: bytes) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.open(io.BytesIO(png))
    return saved(image, "PNG", exif=exif, transparency=image.getpixel((2, 2)))


def _animated() -> Iterator[tuple[str, bytes]]:
    held = modes()
    more = held["rgb"].transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    yield "gif of two", saved(held["palette"], "GIF", save_all=True, append_images=[more.quantize(16)])
    yield "webp of two", saved(held["rgb"], "WEBP", lossless=True, save_all=True, append_images=[more])
    yield "tiff of two", saved(held["rgb"], "TIFF", save_all=True, append_images=[more])
    yield "mpo", saved(held["rgb"], "MPO", quality=95, save_all=True, append_images=[more])


def _plain() -> Iterator[tuple[str, bytes]]:
    held = modes()
    for quality, progressive, sampling in itertools.product((60, 95), (False, True), (0, 1, 2)):
        options = {"quality": quality, "progressive": progressive, "subsampling": sampling}
        yield f"jpeg {options}", saved(held["rgb"], "JPEG", **options)
    for kind, names in {
        "BMP": ("rgb", "gray", "palette", "bitmap", "rgba"),
        "PPM": ("rgb", "gray", "bitmap", "gray16"),
        "GIF": ("palette", "gray"),
    }.items():
        for name in names:
            yield f"{kind} {name}", saved(held[name], kind)
    for bits in (1, 2):
        yield f"png palette of {bits} bits", saved(held["rgb"].quantize(2**bits), "PNG", bits=bits)
    yield "gif interlaced", saved(held["palette"], "GIF", interlace=1)
    yield "jpeg cmyk", saved(held["rgb"].convert("CMYK"), "JPEG", quality=95)
    yield "tiff cmyk", saved(held["rgb"].convert("CMYK"), "TIFF")
    yield "tiff jpeg", saved(held["rgb"], "TIFF", compression="jpeg", quality=95)
    yield "tiff white is zero", saved(held["gray"], "TIFF", tiffinfo={262: 0})
    yield "tiff big", saved(held["rgb"], "TIFF", big_tiff=True)


def _deep() -> Iterator[tuple[str, bytes]]:
    size = b"%d %d" % (WIDTH, HEIGHT)
    gray, rgb = smooth(1, 5), smooth(3, 6)
    yield "pgm of 12 bits", b"P5 " + size + b" 4095\n" + (gray.astype(">u2") * 16).tobytes()
    yield "pgm up to 100", b"P5 " + size + b" 100\n" + (gray * (100 / 255)).astype(np.uint8).tobytes()
    yield "pgm in ascii", b"P2\n# c\n" + size + b"\n255\n" + b" ".join(b"%d" % value for value in gray.ravel())
    yield "ppm in ascii", b"P3\n" + size + b"\n255\n" + b" ".join(b"%d" % value for value in rgb.ravel())
    yield "ppm of 16 bits", b"P6 " + size + b" 65535\n" + (rgb.astype(np.uint16) * 257).astype(">u2").tobytes()
    for suffix, channels in itertools.product((".png", ".tiff"), (3, 4)):
        pixels = smooth(channels, 7).astype(np.uint16) * 257 + 5
        yield f"{suffix} of 16 bits, {channels} channels", cv2.imencode(suffix, pixels)[1].tobytes()


def reference(content: bytes) -> Pixels:
    """What Pillow reads: upright, over white, the high byte of 16 bits."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    if image.mode == "I" or image.mode.startswith("I;16"):
        samples = np.asarray(image).astype(np.int64)
        gray = (samples >> 8).astype(np.uint8)
        gray[samples == image.info.get("transparency", -1)] = 255
        return np.repeat(gray[..., None], 3, 2)
    if image.mode not in {"RGBA", "LA", "PA"} and "transparency" not in image.info:
        return np.asarray(image.convert("RGB"))
    straight = np.asarray(image.convert("RGBA")).astype(np.int64)
    alpha = straight[..., 3:]
    return np.asarray((straight[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255, np.uint8)


def bombs() -> list[bytes]:
    """Small files of each format whose headers name 30,000 x 30,000 pixels."""
    held, side = modes(), 30_000
    png, bmp, gif = (bytearray(saved(held["palette"], kind)) for kind in ("PNG", "BMP", "GIF"))
    png[16:24] = struct.pack(">II", side, side)
    png[29:33] = struct.pack(">I", zlib.crc32(png[12:29]))
    bmp[18:26] = struct.pack("<ii", side, -side)
    gif[6:10] = struct.pack("<HH", side, side)
    jpegs = [bytearray(saved(held["rgb"], "JPEG", progressive=progressive)) for progressive in (False, True)]
    for jpeg, marker in zip(jpegs, (b"\xff\xc0", b"\xff\xc2"), strict=True):
        frame = jpeg.index(marker)
        jpeg[frame + 5 : frame + 9] = struct.pack(">HH", side, side)
    tiff = saved(held["rgb"], "TIFF").replace(
        struct.pack("<HHIHH", 256, 4, 1, WIDTH, 0), struct.pack("<HHII", 256, 4, 1, side)
    )
    tiff = tiff.replace(struct.pack("<HHIHH", 257, 4, 1, HEIGHT, 0), struct.pack("<HHII", 257, 4, 1, side))
    lossy = bytearray(saved(held["rgb"], "WEBP"))
    lossy[26:30] = struct.pack("<HH", 16383, 16383)
    return [bytes(one) for one in (png, bmp, gif, *jpegs, tiff, lossy, b"P6 30000 30000 255\n", b"P1 60000 60000 ")]
