"""Small writers of image files that OpenCV cannot write: CMYK JPEGs, palettes in PNG, EXIF orientations."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]


def segment(marker: int, content: bytes) -> bytes:
    """One JPEG marker segment."""
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def exif(orientation: int, order: str = ">") -> bytes:
    """A TIFF header with one directory that holds the orientation."""
    mark = b"MM\x00*" if order == ">" else b"II*\x00"
    return mark + struct.pack(order + "IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)


def rotated_jpeg(image: Pixels, orientation: int) -> bytes:
    """A JPEG whose EXIF says how to turn it upright; `image` [H, W, 3] RGB as stored."""
    plain = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 98])[1].tobytes()
    return plain[:2] + segment(0xE1, b"Exif\x00\x00" + exif(orientation)) + plain[2:]


def cmyk_jpeg(blocks: Sequence[tuple[int, int, int, int]], adobe: int | None) -> bytes:
    """A baseline JPEG of flat 8 x 8 blocks side by side; four samples each, stored as they are.

    adobe: the color transform of the Adobe marker (0 = CMYK, 2 = YCCK), None for no marker.
    """
    start = struct.pack(">BHHB", 8, 8, 8 * len(blocks), 4) + b"".join(bytes((i, 0x11, 0)) for i in range(1, 5))
    scan = bytes((4, *(value for i in range(1, 5) for value in (i, 0)), 0, 63, 0))
    marker = b"" if adobe is None else segment(0xEE, b"Adobe" + struct.pack(">HHHB", 100, 0, 0, adobe))
    direct = bytes((0x00, 0, 0, 0, 12, *[0] * 12, *range(12)))
    alternating = bytes((0x10, 1, *[0] * 15, 0))
    tables = segment(0xDB, bytes((0, *[8] * 64))) + segment(0xC4, direct) + segment(0xC4, alternating)
    head = b"\xff\xd8" + marker + tables + segment(0xC0, start) + segment(0xDA, scan)
    return head + _entropy(blocks) + b"\xff\xd9"


def _entropy(blocks: Sequence[tuple[int, int, int, int]]) -> bytes:
    """Differences of the blocks' means: a 4-bit category, its bits, and "end of block"."""
    bits, before = "", [0, 0, 0, 0]
    for block in blocks:
        for index, value in enumerate(block):
            step = value - 128 - before[index]
            before[index] = value - 128
            size = abs(step).bit_length()
            code = step if step > 0 else step + (1 << size) - 1
            bits += f"{size:04b}" + (f"{code:0{size}b}" if size else "") + "0"
    bits += "1" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\x00")


def chunk(kind: bytes, content: bytes) -> bytes:
    """One PNG chunk with its checksum."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(rows: npt.NDArray[np.generic], color_type: int, extra: Sequence[tuple[bytes, bytes]] = ()) -> bytes:
    """A PNG of u8 or u16 samples [H, W(, n)]; `extra` chunks come before the pixels."""
    depth = 8 * rows.dtype.itemsize
    head = struct.pack(">IIBBBBB", rows.shape[1], rows.shape[0], depth, color_type, 0, 0, 0)
    lines = rows.astype(rows.dtype.newbyteorder(">"))
    data = zlib.compress(b"".join(b"\x00" + line.tobytes() for line in lines))
    chunks = [(b"IHDR", head), *extra, (b"IDAT", data), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, content) for kind, content in chunks)
