"""Portable bit-, gray- and pixmaps (PBM, PGM, PPM), decoded without OpenCV, which ignores their maximum value.

Python 3.9 and later; standard library and NumPy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .image_header import Header

if TYPE_CHECKING:
    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]

_LOW_BITS = 1 << 12


def decode_pnm(content: bytes, header: Header) -> Pixels:
    """Return the RGB pixels of a PNM file, scaled to 8 bits by the maximum value in its header."""
    kind, shape = int(header.kind[-1]), (header.height, header.width, header.channels)
    count = header.height * header.width * header.channels
    if kind == 4:
        packed = np.frombuffer(content, np.uint8, offset=header.start)
        row = (header.width + 7) // 8
        _require_whole(len(packed), row * header.height)
        bits = np.unpackbits(packed[: row * header.height].reshape(-1, row), axis=1)[:, : header.width]
        samples: npt.NDArray[np.int64] = 1 - bits.astype(np.int64)
    elif kind < 4:
        samples = _ascii_samples(content[header.start - 1 :], count, bitmap=kind == 1)
    else:
        held = np.frombuffer(content[header.start :], np.uint8)
        _require_whole(len(held), count * (header.bits // 8))
        samples = held[: count * (header.bits // 8)].view(">u2" if header.bits > 8 else "u1").astype(np.int64)
    if header.largest == 0xFFFF:
        scaled = samples >> 8
    else:
        scaled = (np.minimum(samples, header.largest) * 255 + header.largest // 2) // header.largest
    if header.largest == 0xFFFF:
        refuse_low_bits(samples)
    pixels = scaled.astype(np.uint8).reshape(shape)
    return pixels if header.channels == 3 else np.repeat(pixels, 3, 2)


def _ascii_samples(text: bytes, count: int, *, bitmap: bool) -> npt.NDArray[np.int64]:
    lines = b"\n".join(line.split(b"#")[0] for line in text.split(b"\n"))
    tokens = [bytes([value]) for value in lines if value in b"01"] if bitmap else lines.split(None, count)
    _require_whole(len(tokens), count)
    if any(not token.isdigit() or len(token) > 5 for token in tokens[:count]):
        raise ValueError("damaged PNM: a sample that is not a number")
    samples = np.array([int(token) for token in tokens[:count]], np.int64)
    return 1 - samples if bitmap else samples


def _require_whole(held: int, needed: int) -> None:
    if held < needed:
        raise ValueError(f"truncated PNM: {held} of {needed} samples")


def refuse_low_bits(image: npt.NDArray[np.generic]) -> None:
    """Raise ValueError for 16-bit files whose samples use only 12 bits: they would become nearly black."""
    largest = int(image.max(initial=0))
    if 0 < largest < _LOW_BITS:
        raise ValueError(
            f"16-bit samples of which the largest is {largest}, as of a camera with 12 bits or fewer: "
            "scale them to 0…65535"
        )
