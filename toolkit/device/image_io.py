"""Images as the network sees them: read a file, fit it to the input. Training and devices share this very code.

An image that is damaged is refused, never guessed: OpenCV's releases differ in whether they fill what a truncated JPEG
or PNG lacks with gray, so both are walked to their end marker first. The header is read before anything is decoded, so
that a small file cannot unpack to more than the limit. Python 3.9 and later; standard library, NumPy, OpenCV.
"""

from __future__ import annotations

import os
import struct
import zlib
from typing import TYPE_CHECKING, Dict, Iterator, Optional, Tuple, Union

import cv2
import numpy as np

from .image_header import JPEG_MAGIC, PNG_MAGIC, Header, orientation, read_header
from .pnm import decode_pnm, refuse_low_bits

if TYPE_CHECKING:
    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]

VERSION = 2
"""Raised whenever the same file would give other pixels than before; part of every key of cached images."""

MAX_BYTES = int(float(os.environ.get("TOOLKIT_MAX_IMAGE_MB", "400")) * 1e6)
"""The largest decoded image that is read unless the caller allows more: 133 megapixels of 8-bit RGB."""

_OPENCV_PIXELS = 1 << 30
_END_OF_IMAGE, _START_OF_SCAN = 0xD9, 0xDA


class ImageError(ValueError):
    """A file that cannot be used as an image; says which and why."""


class ImageTooLargeError(ImageError):
    """An image whose pixels need more memory than the limit; nothing of it was decoded."""


def read_image(source: Union[str, "os.PathLike[str]", bytes], max_bytes: Optional[int] = None) -> Pixels:
    """The image in a file, or in a file's bytes: u8 [height, width, 3], RGB, upright by its orientation.

    16-bit samples keep their high byte, gray is repeated, transparency is laid over white, CMYK is taken as inverted
    (as Adobe, browsers and Pillow do); of an animation the first frame is read.

    Args:
        source: A path, or the bytes of a file.
        max_bytes: The most memory that the decoded pixels may need; by default MAX_BYTES.

    Raises:
        ImageError: it is missing, empty, truncated, not an image, or larger than that.
    """
    content, name = (source, "image") if isinstance(source, bytes) else (_content(source), os.fspath(source))
    if not content:
        raise ImageError(f"{name}: empty file")
    try:
        header = read_header(content)
        _refuse_large(header, max_bytes, name)
        return _decode(content, header)
    except ImageError:
        raise
    except ValueError as error:
        raise ImageError(f"{name}: {error}") from None


def _refuse_large(header: Header, max_bytes: Optional[int], name: str) -> None:
    limit = MAX_BYTES if max_bytes is None else max_bytes
    size = f"{name}: {header.width} x {header.height} pixels"
    if header.height * header.width > _OPENCV_PIXELS:
        raise ImageTooLargeError(f"{size} are more than the {_OPENCV_PIXELS} that can be decoded")
    if header.decoded_bytes > limit:
        hint = " (TOOLKIT_MAX_IMAGE_MB raises it)" if max_bytes is None else ""
        needed = f"{header.decoded_bytes / 1e6:.0f} MB of memory"
        raise ImageTooLargeError(f"{size} need {needed}, more than the limit of {limit / 1e6:.0f} MB{hint}")


def memory_budget(meminfo: str = "/proc/meminfo") -> int:
    """The most bytes that one image from outside may need decoded: an eighth of the available memory, up to MAX_BYTES."""
    try:
        with open(meminfo, encoding="ascii") as stream:
            fields = dict(line.split(":", 1) for line in stream if ":" in line)
        available = 1024 * int(fields["MemAvailable"].split()[0])
    except (OSError, ValueError, KeyError, IndexError):
        return MAX_BYTES
    return min(MAX_BYTES, available // 8)


def resize(image: Pixels, size: Tuple[int, int], crop: str = "resize") -> Pixels:
    """`image` [H, W, 3] as u8 [height, width, 3] for size = (height, width) in pixels.

    crop = "resize" stretches the whole image; "center" first cuts the largest middle part of the size's proportions (a
    square for a square size). An axis that shrinks is averaged (INTER_AREA), one that grows is interpolated
    (INTER_LINEAR).
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


def _decode(content: bytes, header: Header) -> Pixels:
    if header.kind.startswith("PNM"):
        return decode_pnm(content, header)
    parts = _check_complete(content)
    flags = cv2.IMREAD_UNCHANGED if header.alpha or header.bits > 8 else cv2.IMREAD_COLOR
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error as error:
        raise ValueError(f"cannot be decoded: {error.err}") from None
    if image is None:
        raise ValueError(f"damaged {header.kind}: its data cannot be decoded")
    if flags == cv2.IMREAD_UNCHANGED:
        image = _flatten(image, header)
        if header.kind != "TIFF":  # whose orientation OpenCV always applies
            image = _apply_orientation(image, orientation(_exif(parts)))
    return np.ascontiguousarray(image[..., ::-1])


def _flatten(image: npt.NDArray[np.generic], header: Header) -> Pixels:
    """8-bit BGR of what OpenCV decoded unchanged: transparency as it looks on white paper."""
    opaque = None
    if header.alpha == "key" and (image.ndim == 2 or image.shape[2] == 3):
        opaque = _differs_from_key(image, header)
    if image.dtype == np.uint16:
        refuse_low_bits(image)
        image = (image >> 8).astype(np.uint8)  # type: ignore[operator]  # it is u16
    pixels = np.asarray(image, np.uint8).reshape(*image.shape[:2], -1)
    color = np.repeat(pixels[..., :1], 3, 2) if pixels.shape[2] < 3 else pixels[..., :3]
    if opaque is not None:
        return np.where(opaque[..., None], color, np.uint8(255))
    if not header.alpha or pixels.shape[2] != 4:
        return color
    alpha = pixels[..., 3:].astype(np.uint32)
    light = 255 * (255 - alpha)
    if header.alpha == "premultiplied":
        return np.asarray(np.minimum(255, color + (light + 127) // 255), np.uint8)
    return np.asarray((color * alpha + light + 127) // 255, np.uint8)


def _differs_from_key(image: npt.NDArray[np.generic], header: Header) -> npt.NDArray[np.bool_]:
    """Where an image is not of the color that stands for transparency."""
    scale = 255 // ((1 << header.bits) - 1) if header.bits < 8 else 1
    key = np.array([value * scale for value in header.key[::-1]])
    differs: npt.NDArray[np.bool_] = (image.reshape(*image.shape[:2], -1) != key).any(axis=2)
    return differs


def _exif(parts: Dict[bytes, bytes]) -> bytes:
    exif = parts.get(b"eXIf") or parts.get(b"EXIF", b"")
    return exif[6:] if exif.startswith(b"Exif\x00\x00") else exif


def _check_complete(content: bytes) -> Dict[bytes, bytes]:
    """The metadata of a file, by chunk name; raises ValueError if a JPEG, PNG or WebP does not reach its end."""
    if content.startswith(JPEG_MAGIC):
        _walk_jpeg(content)
        return {}
    if content.startswith(PNG_MAGIC):
        return dict(_walk_png(content))
    if content[:4] == b"RIFF":
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
    at = len(PNG_MAGIC)
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
