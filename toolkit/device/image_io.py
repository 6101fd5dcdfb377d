"""Images as the network sees them: read a file, fit it to the input. Training and devices share this very code.

An image that is damaged is refused, never guessed: OpenCV's releases differ in whether they fill what a truncated JPEG
or PNG lacks with gray, so both are walked to their end marker first. Python 3.9 and later; standard library, NumPy, OpenCV.
"""

from __future__ import annotations

import os
import struct
import zlib
from typing import TYPE_CHECKING, Dict, Iterator, Tuple, Union

import cv2
import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]

VERSION = 1
"""Raised whenever the same file would give other pixels than before; part of every key of cached images."""

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_END_OF_IMAGE, _START_OF_SCAN = 0xD9, 0xDA
_ORIENTATION = 0x0112


class ImageError(ValueError):
    """A file that cannot be used as an image; says which and why."""


def read_image(source: Union[str, "os.PathLike[str]", bytes]) -> Pixels:
    """The image in a file, or in a file's bytes: u8 [height, width, 3], RGB, upright by its EXIF orientation.

    16-bit samples keep their high byte, gray is repeated, transparency is laid over white, CMYK is taken as inverted
    (as Adobe, browsers and Pillow do). Raises ImageError for what is missing, empty, truncated or no image.
    """
    content, name = (source, "image") if isinstance(source, bytes) else (_content(source), os.fspath(source))
    if not content:
        raise ImageError(f"{name}: empty file")
    try:
        return _decode(content)
    except ValueError as error:
        raise ImageError(f"{name}: {error}") from None


def resize(image: Pixels, size: Tuple[int, int], crop: str = "resize") -> Pixels:
    """`image` [H, W, 3] as u8 [height, width, 3] for size = (height, width) in pixels.

    crop = "resize" stretches the whole image; "center" first cuts the largest middle part of the size's proportions (a
    square for a square size). An axis that shrinks is averaged (INTER_AREA), one that grows is interpolated (INTER_LINEAR).
    """
    image, (height, width) = crop_to_aspect(image, size, crop), size
    rows, columns = image.shape[:2]
    shrunk = _resized(image, min(rows, height), min(columns, width), cv2.INTER_AREA)
    return np.ascontiguousarray(_resized(shrunk, height, width, cv2.INTER_LINEAR))


def _content(path: Union[str, "os.PathLike[str]"]) -> bytes:
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except OSError as error:
        raise ImageError(f"{os.fspath(path)}: {error.strerror or error}") from None


def _decode(content: bytes) -> Pixels:
    parts = _check_complete(content)
    data = np.frombuffer(content, np.uint8)
    try:
        image = _flatten_alpha(data, parts) if _has_alpha(content, parts) else cv2.imdecode(data, cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise ValueError(f"cannot be decoded: {error.err}") from None
    if image is None:
        known = content.startswith((_PNG, _JPEG))
        raise ValueError("damaged: its data cannot be decoded" if known else "not an image that OpenCV can read")
    upright: Pixels = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    return upright


def _check_complete(content: bytes) -> Dict[bytes, bytes]:
    """What decides how a file is read, by chunk name; raises ValueError if a JPEG or PNG does not reach its end."""
    if content.startswith(_JPEG):
        _walk_jpeg(content)
        return {}
    if content.startswith(_PNG):
        return dict(_walk_png(content))
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return dict(_walk_webp(content))
    return {}


def _walk_jpeg(content: bytes) -> None:
    """Follow the markers (ITU-T T.81, B.1.1) from SOI to EOI; what lies behind EOI is no concern."""
    at, ends = 2, None
    while at + 4 <= len(content) or content[at : at + 2] == b"\xff\xd9":
        if content[at] != 0xFF:
            raise ValueError(f"damaged JPEG: no marker at byte {at}")
        marker = content[at + 1]
        if marker == _END_OF_IMAGE and ends is not None:
            return
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        at += 2 + int(struct.unpack_from(">H", content, at + 2)[0])
        if marker == _START_OF_SCAN:
            ends = _scan_ends(content) if ends is None else ends
            following = np.searchsorted(ends, at)
            at = int(ends[following]) if following < len(ends) else len(content)
    raise ValueError(f"truncated JPEG: it ends after {len(content)} bytes without the end marker")


def _scan_ends(content: bytes) -> npt.NDArray[np.intp]:
    """Where there is what would end a scan: a 0xFF followed by neither 0x00 (a stuffed byte), 0xFF nor a restart marker."""
    data = np.frombuffer(content, np.uint8)
    marks = np.flatnonzero(data[:-1] == 0xFF)
    kinds = data[marks + 1]
    ends: npt.NDArray[np.intp] = marks[(kinds != 0) & (kinds != 0xFF) & ((kinds < 0xD0) | (kinds > 0xD7))]
    return ends


def _walk_png(content: bytes) -> Iterator[Tuple[bytes, bytes]]:
    """The chunks that matter, each checked by its CRC; those of the pixels by name only."""
    at = len(_PNG)
    while at + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, at)
        kind, end = content[at + 4 : at + 8], at + 8 + length
        if end + 4 > len(content):
            break
        if zlib.crc32(content[at + 4 : end]) != struct.unpack_from(">I", content, end)[0]:
            raise ValueError(f"damaged PNG: the checksum of its {kind.decode('latin-1')} chunk is wrong")
        if kind == b"IEND":
            return
        yield kind, (b"" if kind == b"IDAT" else content[at + 8 : end])
        at = end + 4
    raise ValueError(f"truncated PNG: it ends after {len(content)} bytes without the end chunk")


def _walk_webp(content: bytes) -> Iterator[Tuple[bytes, bytes]]:
    """The chunks of the RIFF container."""
    (riff,) = struct.unpack_from("<I", content, 4)
    if riff + 8 > len(content):
        raise ValueError(f"truncated WebP: {len(content)} of {riff + 8} bytes")
    at = 12
    while at + 8 <= len(content):
        (length,) = struct.unpack_from("<I", content, at + 4)
        yield content[at : at + 4], content[at + 8 : at + 8 + length]
        at += 8 + length + length % 2


def _has_alpha(content: bytes, parts: Dict[bytes, bytes]) -> bool:
    if content.startswith(_PNG):
        return b"tRNS" in parts or parts.get(b"IHDR", b"")[9:10] in {b"\x04", b"\x06"}
    flags = parts.get(b"VP8X", b"\x00")[0]
    return bool(flags & 0x10)


def _flatten_alpha(data: Pixels, parts: Dict[bytes, bytes]) -> Union[Pixels, None]:
    """An image with transparency as it looks on white paper, BGR; OpenCV alone would show what is hidden."""
    whole = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    if whole is None or whole.ndim != 3 or whole.shape[2] != 4:
        return cv2.imdecode(data, cv2.IMREAD_COLOR)
    if whole.dtype == np.uint16:
        whole = (whole >> 8).astype(np.uint8)
    alpha = whole[..., 3:].astype(np.uint32)
    flat = ((whole[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    exif = parts.get(b"eXIf") or parts.get(b"EXIF", b"").removeprefix(b"Exif\x00\x00")
    return _apply_orientation(flat, _orientation(exif))


def _orientation(exif: bytes) -> int:
    """The orientation 1…8 in a TIFF header and its first directory (EXIF 2.32, 4.6.2); 1 if it names none."""
    order = {b"II*\x00": "<", b"MM\x00*": ">"}.get(exif[:4])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, start)
        for entry in range(count):
            tag, _kind, _count, value = struct.unpack_from(order + "HHIH", exif, start + 2 + 12 * entry)
            if tag == _ORIENTATION:
                return int(value) if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


def _apply_orientation(image: Pixels, orientation: int) -> Pixels:
    """Undo what an EXIF orientation says: 5…8 swap the axes, then the rows or the columns are mirrored."""
    if orientation >= 5:
        image = image.transpose(1, 0, 2)
    if orientation in {3, 4, 7, 8}:
        image = image[::-1]
    if orientation in {2, 3, 6, 7}:
        image = image[:, ::-1]
    return np.ascontiguousarray(image)


def crop_to_aspect(image: Pixels, size: Tuple[int, int], crop: str) -> Pixels:
    """The part of it that `fit` brings to the size."""
    if crop not in {"resize", "center"}:
        raise ValueError(f'crop is "{crop}", neither "resize" nor "center"')
    return _center_crop(image, *size) if crop == "center" else image


def _center_crop(image: Pixels, height: int, width: int) -> Pixels:
    """The largest middle part whose sides are as height to width."""
    rows, columns = image.shape[:2]
    tall = max(1, min(rows, round(columns * height / width)))
    wide = max(1, min(columns, round(rows * width / height)))
    top, left = (rows - tall) // 2, (columns - wide) // 2
    return image[top : top + tall, left : left + wide]


def _resized(image: Pixels, height: int, width: int, interpolation: int) -> Pixels:
    if image.shape[:2] == (height, width):
        return image
    resized: Pixels = cv2.resize(image, (width, height), interpolation=interpolation)
    return resized
