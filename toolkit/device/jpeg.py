"""Whether a JPEG is whole: its markers, its scans, and the data before its end marker.

Python 3.9 and later; standard library, NumPy, OpenCV.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Set, Tuple

import cv2
import numpy as np

from .image_header import read_header

if TYPE_CHECKING:
    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]

_END_OF_IMAGE, _START_OF_SCAN = 0xD9, 0xDA
_MISSING = 128
"""What the decoder gives every sample of a block that has no data."""
_MORE_DATA = bytes(1 + (number * number + 7 * number) % 251 for number in range(256))


def walk_jpeg(content: bytes) -> int:
    """Parse the markers (ITU-T T.81, B.1.1) from SOI to EOI, and return the offset of EOI; data after it is ignored."""
    at, ends = 2, None
    precise: Set[Tuple[int, int]] = set()
    while at + 4 <= len(content) or content[at : at + 2] == b"\xff\xd9":
        if content[at] != 0xFF:
            raise ValueError(f"damaged JPEG: no marker at byte {at}")
        marker = content[at + 1]
        if marker == _END_OF_IMAGE and ends is not None:
            _refuse_missing_scans(content, precise)
            return at
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if at + 4 > len(content):  # the end marker, with no scan before it
            break
        if marker == _START_OF_SCAN:
            precise |= _precise_after(content, at)
        at += 2 + int(struct.unpack_from(">H", content, at + 2)[0])
        if marker == _START_OF_SCAN:
            ends = _scan_ends(content) if ends is None else ends
            following = np.searchsorted(ends, at)
            at = int(ends[following]) if following < len(ends) else len(content)
    raise ValueError(f"truncated JPEG: it ends after {len(content)} bytes without the end marker")


def _scan_ends(content: bytes) -> npt.NDArray[np.intp]:
    """Return the possible ends of scans: each 0xFF not followed by 0x00 (a stuffed byte), 0xFF or a restart marker."""
    data = np.frombuffer(content, np.uint8)
    marks = np.flatnonzero(data[:-1] == 0xFF)
    kinds = data[marks + 1]
    ends: npt.NDArray[np.intp] = marks[(kinds != 0) & (kinds != 0xFF) & ((kinds < 0xD0) | (kinds > 0xD7))]
    return ends


def _precise_after(content: bytes, at: int) -> Set[Tuple[int, int]]:
    """Return the (component, coefficient) pairs to which the scan whose header is at `at` gives their last bit (B.2.3)."""
    count = content[at + 4] if at + 4 < len(content) else 0
    fields = content[at + 5 : at + 8 + 2 * count]
    if len(fields) < 2 * count + 3 or fields[-1] & 0x0F:
        return set()
    return {
        (component, number) for component in fields[: 2 * count : 2] for number in range(fields[-3], fields[-2] + 1)
    }


def _refuse_missing_scans(content: bytes, precise: Set[Tuple[int, int]]) -> None:
    """Refuse a progressive JPEG without the last scans of its first component, or of the mean values of the others."""
    components = read_header(content).progressive
    if not components:
        return
    needed = {(components[0], number) for number in range(64)} | {(each, 0) for each in components}
    if not needed <= precise:
        raise ValueError("truncated JPEG: its last scans are missing")


def refuse_cut_jpeg(content: bytes, image: Pixels, flags: int) -> None:
    """Refuse a JPEG that was truncated and got an end marker again; `image` is what OpenCV decodes with `flags`.

    The decoder fills what is missing with mid-gray, or in a progressive JPEG with the coarser values of the scans before.
    Where a corner is mid-gray, and if it is progressive, the image is decoded again with more data before its end marker:
    only a truncated one then changes.

    Raises:
        ValueError: data is missing.
    """
    gray_corner = (image[[0, 0, -1, -1], [0, -1, 0, -1]] == _MISSING).reshape(4, -1).all(axis=1).any()
    if not gray_corner and not read_header(content).progressive:
        return
    end = walk_jpeg(content)
    longer = cv2.imdecode(np.frombuffer(content[:end] + _MORE_DATA + content[end:], np.uint8), flags)
    if longer is None or longer.shape != image.shape or not np.array_equal(longer, image):
        raise ValueError(f"truncated JPEG: data is missing before its end marker, which comes after {end} bytes")
