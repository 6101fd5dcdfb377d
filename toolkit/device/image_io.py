"""Read images and resize them to the network's input; training and devices share this code.

Damaged images are refused: OpenCV releases differ in whether they fill the missing part of a truncated JPEG or PNG with
gray, so both are first parsed to their end marker. The header is read before anything is decoded, so that a small file
cannot expand beyond the limit. Python 3.9 and later; standard library, NumPy, OpenCV.
"""

from __future__ import annotations

import os
import struct
import zlib
from typing import TYPE_CHECKING, Dict, Iterator, Optional, Tuple, Union

import cv2
import numpy as np

from .image_header import JPEG_MAGIC, PNG_MAGIC, Header, orientation, read_header
from .jpeg import refuse_cut_jpeg, walk_jpeg
from .pnm import decode_pnm, refuse_low_bits

if TYPE_CHECKING:
    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]

VERSION = 2
"""Incremented when the same file gives other pixels than before; part of every key of cached images."""

MAX_BYTES = int(float(os.environ.get("TOOLKIT_MAX_IMAGE_MB", "400")) * 1e6)
"""Default limit of the decoded size of an image: 133 megapixels of 8-bit RGB."""

_OPENCV_PIXELS = 1 << 30


class ImageError(ValueError):
    """A file that cannot be used as an image; the message says why."""


class ImageTooLargeError(ImageError):
    """An image above the memory limit; it was not decoded."""


def read_image(source: Union[str, "os.PathLike[str]", bytes], max_bytes: Optional[int] = None) -> Pixels:
    """Return an image as u8 [height, width, 3], RGB, rotated by its EXIF orientation.

    16-bit samples keep their high byte, gray is repeated, transparency is blended with white, CMYK is read as inverted
    (as Adobe, browsers and Pillow do). Of an animation, the first frame is read.

    Args:
        source: A path, or the bytes of a file.
        max_bytes: The most memory that the decoded pixels may need; by default MAX_BYTES.

    Raises:
        ImageError: the file is missing, empty, truncated, not an image, or above the limit.
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


def check_whole(content: bytes) -> None:
    """Check the header and the structure of an image without decoding it.

    Raises:
        ValueError: it is not an image, or truncated, or above MAX_BYTES.
    """
    _refuse_large(read_header(content), None, "image")
    _check_complete(content)


def memory_budget(meminfo: str = "/proc/meminfo") -> int:
    """Return the limit for an untrusted decoded image: an eighth of the available memory, at most MAX_BYTES."""
    try:
        with open(meminfo, encoding="ascii") as stream:
            fields = dict(line.split(":", 1) for line in stream if ":" in line)
        available = 1024 * int(fields["MemAvailable"].split()[0])
    except (OSError, ValueError, KeyError, IndexError):
        return MAX_BYTES
    return min(MAX_BYTES, available // 8)


def resize(image: Pixels, size: Tuple[int, int], crop: str = "resize") -> Pixels:
    """Resize `image` [H, W, 3] to u8 [height, width, 3] for size = (height, width) in pixels.

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
    image = _decoded(content, flags, header.kind)
    if header.kind == "JPEG":
        refuse_cut_jpeg(content, image, flags)
    if flags == cv2.IMREAD_UNCHANGED:
        image = _flatten(image, header)
        if header.kind != "TIFF":  # OpenCV always applies the orientation of TIFF
            image = _apply_orientation(image, orientation(_exif(parts)))
    return np.ascontiguousarray(image[..., ::-1])


def _decoded(content: bytes, flags: int, kind: str) -> Pixels:
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error as error:
        raise ValueError(f"cannot be decoded: {error.err}") from None
    if image is None:
        raise ValueError(f"damaged {kind}: its data cannot be decoded")
    pixels: Pixels = image
    return pixels


def _flatten(image: npt.NDArray[np.generic], header: Header) -> Pixels:
    """Return an image that OpenCV decoded unchanged as 8-bit BGR, with transparency blended with white."""
    opaque = None
    if header.alpha == "key" and (image.ndim == 2 or image.shape[2] == 3):
        opaque = _differs_from_key(image, header)
    if image.dtype == np.uint16:
        refuse_low_bits(image)
        image = (image >> 8).astype(np.uint8)  # type: ignore[operator]  # u16
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
    """Return a mask of the pixels that do not have the transparent color."""
    scale = 255 // ((1 << header.bits) - 1) if header.bits < 8 else 1
    key = np.array([value * scale for value in header.key[::-1]])
    differs: npt.NDArray[np.bool_] = (image.reshape(*image.shape[:2], -1) != key).any(axis=2)
    return differs


def _exif(parts: Dict[bytes, bytes]) -> bytes:
    exif = parts.get(b"eXIf") or parts.get(b"EXIF", b"")
    return exif[6:] if exif.startswith(b"Exif\x00\x00") else exif


def _check_complete(content: bytes) -> Dict[bytes, bytes]:
    """Return the metadata of a file by chunk name; raise ValueError if a JPEG, PNG or WebP is truncated."""
    if content.startswith(JPEG_MAGIC):
        walk_jpeg(content)
        return {}
    if content.startswith(PNG_MAGIC):
        return dict(_walk_png(content))
    if content[:4] == b"RIFF":
        return dict(_walk_webp(content))
    return {}


def _walk_png(content: bytes) -> Iterator[Tuple[bytes, bytes]]:
    """Yield the chunks of a PNG, each checked by its CRC; chunks of pixels without their content."""
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
    """Yield the chunks of the RIFF container of a WebP."""
    (riff,) = struct.unpack_from("<I", content, 4)
    if riff + 8 > len(content):
        raise ValueError(f"truncated WebP: {len(content)} of {riff + 8} bytes")
    at = 12
    while at + 8 <= len(content):
        (length,) = struct.unpack_from("<I", content, at + 4)
        yield content[at : at + 4], content[at + 8 : at + 8 + length]
        at += 8 + length + length % 2


def _apply_orientation(image: Pixels, orientation: int) -> Pixels:
    """Apply an EXIF orientation: 5…8 swap the axes, then rows or columns are mirrored."""
    if orientation >= 5:
        image = image.transpose(1, 0, 2)
    if orientation in {3, 4, 7, 8}:
        image = image[::-1]
    if orientation in {2, 3, 6, 7}:
        image = image[:, ::-1]
    return np.ascontiguousarray(image)


def crop_to_aspect(image: Pixels, size: Tuple[int, int], crop: str) -> Pixels:
    """Return the part of an image that is resized to the size."""
    if crop not in {"resize", "center"}:
        raise ValueError(f'crop is "{crop}", neither "resize" nor "center"')
    return _center_crop(image, *size) if crop == "center" else image


def _center_crop(image: Pixels, height: int, width: int) -> Pixels:
    """Return the largest centered part with the proportions of height to width."""
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
