"""Headers of image files: the size, samples and transparency of an image, read before decoding.

Only formats with a parser here are decoded. Python 3.9 and later; standard library.
"""

from __future__ import annotations

import re
import struct
from typing import Callable, Dict, Iterator, NamedTuple, Optional, Tuple

IMAGE_SUFFIXES = {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".mpo", ".png", ".apng", ".gif", ".webp"),
    *(".bmp", ".dib", ".tif", ".tiff", ".pbm", ".pgm", ".ppm", ".pnm"),
}
"""Suffixes of image files, in lower case."""

PNG_MAGIC, JPEG_MAGIC = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_MAGIC = (JPEG_MAGIC, PNG_MAGIC, b"GIF87a", b"GIF89a", b"II*\x00", b"MM\x00*")
ORIENTATION = 0x0112
_PNM_TOKEN = re.compile(rb"(?:\s|#[^\r\n]*[\r\n])*(\d+)")
_NAMES = {
    "_jpeg": "JPEG",
    "_png": "PNG",
    "_webp": "WebP",
    "_gif": "GIF",
    "_tiff": "TIFF",
    "_bmp": "BMP",
    "_pnm": "PNM",
}
_MARKERS_WITHOUT_SIZE = {0xC4, 0xC8, 0xCC}  # DHT, JPG and DAC lie among the frame markers
_PROGRESSIVE = {0xC2, 0xCA}
_TIFF_FORMATS = {1: "B", 3: "H", 4: "I", 16: "Q"}
_MOST_TAGS, _MOST_STRIPS = 4096, 1 << 20


class Header(NamedTuple):
    """The header of an image; `height` and `width` in pixels as stored, before the orientation is applied."""

    kind: str
    height: int
    width: int
    channels: int = 3
    bits: int = 8
    """Bits of one sample."""
    alpha: str = ""
    """How transparency is stored: "straight", "premultiplied", "key", or not at all."""
    key: Tuple[int, ...] = ()
    """The sample values of the transparent color, for "key"."""
    largest: int = 255
    """The sample value of full brightness."""
    start: int = 0
    """Offset of the samples in a PNM file."""
    progressive: bytes = b""
    """The components of a progressive JPEG, by their identifiers."""

    @property
    def decoded_bytes(self) -> int:
        """Return the size of the decoded image in bytes."""
        return self.height * self.width * max(3, self.channels) * (2 if self.bits > 8 else 1)


def starts_as_image(start: bytes) -> bool:
    """Return whether a file with these first bytes, 12 or more, is an image; formats with weak marks (BMP, PNM) are not told."""
    return start.startswith(_MAGIC) or (start[:4] == b"RIFF" and start[8:12] == b"WEBP")


def read_header(content: bytes) -> Header:
    """Return the header of an image, given the bytes of its file.

    Raises:
        ValueError: the format is not supported, or the header is damaged.
    """
    reader = _reader(content)
    try:
        header = reader(content)
    except (struct.error, IndexError, KeyError, OverflowError):  # the last by an offset beyond 2 ** 63
        kind = _NAMES[reader.__name__]
        raise ValueError("truncated {}: it ends after {} bytes within its header".format(kind, len(content))) from None
    if header.height < 1 or header.width < 1:
        raise ValueError("damaged: its header says {} x {} pixels".format(header.width, header.height))
    return header


def _reader(content: bytes) -> Callable[[bytes], Header]:
    if content.startswith(JPEG_MAGIC):
        return _jpeg
    if content.startswith(PNG_MAGIC):
        return _png
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return _webp
    if content[:6] in {b"GIF87a", b"GIF89a"}:
        return _gif
    if content[:4] in {b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"}:
        return _tiff
    if content[:2] == b"BM":
        return _bmp
    if content[:1] == b"P" and content[1:2] in b"123456" and content[2:3] in b" \t\r\n#":
        return _pnm
    raise ValueError("not an image in a format that can be read (JPEG, PNG, GIF, WebP, BMP, TIFF, PNM)")


def _jpeg(content: bytes) -> Header:
    at = 2
    while True:
        if content[at] != 0xFF:
            raise ValueError("damaged JPEG: no marker at byte {}".format(at))
        marker = content[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        (length,) = struct.unpack_from(">H", content, at + 2)
        if 0xC0 <= marker <= 0xCF and marker not in _MARKERS_WITHOUT_SIZE:
            bits, height, width, channels = struct.unpack_from(">BHHB", content, at + 4)
            components = content[at + 10 : at + 10 + 3 * channels : 3] if marker in _PROGRESSIVE else b""
            return Header("JPEG", height, width, channels, bits, progressive=components)
        if marker in {0xD9, 0xDA}:
            raise ValueError("damaged JPEG: no frame before its first scan")
        at += 2 + int(length)


def _png(content: bytes) -> Header:
    width, height, bits, color = struct.unpack_from(">IIBB", content, 16)
    channels = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}.get(color)
    if content[12:16] != b"IHDR" or channels is None:
        raise ValueError("damaged PNG: its header is missing or wrong")
    header = Header("PNG", height, width, channels, bits, "straight" if color in {4, 6} else "")
    transparent = next((body for kind, body in _chunks_before_pixels(content) if kind == b"tRNS"), None)
    if transparent is None:
        return header
    if color == 3:
        return header._replace(alpha="straight", channels=4)
    return header._replace(alpha="key", key=struct.unpack_from(">{}H".format(1 if color == 0 else 3), transparent))


def _chunks_before_pixels(content: bytes) -> Iterator[Tuple[bytes, bytes]]:
    at = len(PNG_MAGIC)
    while at + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, at)
        kind = content[at + 4 : at + 8]
        if kind == b"IDAT":
            return
        yield kind, content[at + 8 : at + 8 + length]
        at += 12 + length


def _webp(content: bytes) -> Header:
    kind = content[12:16]
    if kind == b"VP8X":
        width, height = (1 + int.from_bytes(content[at : at + 3], "little") for at in (24, 27))
        return Header("WebP", height, width, 4, alpha="straight" if content[20] & 0x10 else "")
    if kind == b"VP8L":
        (packed,) = struct.unpack_from("<I", content, 21)
        alpha = "straight" if packed >> 28 & 1 else ""
        return Header("WebP", 1 + (packed >> 14 & 0x3FFF), 1 + (packed & 0x3FFF), 4, alpha=alpha)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", content, 26)
        return Header("WebP", height & 0x3FFF, width & 0x3FFF)
    raise ValueError("damaged WebP: its first chunk contains no image")


def _gif(content: bytes) -> Header:
    width, height = struct.unpack_from("<HH", content, 6)
    return Header("GIF", height, width, 4, alpha="straight")


def _bmp(content: bytes) -> Header:
    (size,) = struct.unpack_from("<I", content, 14)
    if size == 12:
        width, height, _planes, bits = struct.unpack_from("<HHHH", content, 18)
        return Header("BMP", height, width)
    width, height, _planes, bits, compression = struct.unpack_from("<iiHHI", content, 18)
    alpha = size >= 56 and compression == 3 and bits == 32 and struct.unpack_from("<I", content, 66)[0] != 0
    return Header("BMP", abs(height), width, 4 if bits == 32 else 3, alpha="straight" if alpha else "")


def _pnm(content: bytes) -> Header:
    """Return the header of a PBM, PGM or PPM file, binary or ASCII; a bitmap has no maximum value."""
    kind, at, numbers = content[1] - ord("0"), 2, []
    for _ in range(2 if kind in {1, 4} else 3):
        token = _PNM_TOKEN.match(content, at, at + 4096)
        if token is None:
            raise ValueError("truncated or damaged: its header cannot be read")
        numbers.append(int(token[1][:10]))
        at = token.end()
    width, height, largest = (*numbers, 1)[:3]
    if not 1 <= largest <= 0xFFFF:
        raise ValueError("damaged PNM: its largest value is {}".format(largest))
    channels = 3 if kind in {3, 6} else 1
    return Header("PNM{}".format(kind), height, width, channels, 16 if largest > 255 else 8, "", (), largest, at + 1)


def _tiff(content: bytes) -> Header:
    tags = tiff_tags(content, 0)
    width, height = tags[256][0], tags[257][0]
    samples, bits = tags.get(277, (1,))[0], max(tags.get(258, (1,)))
    tile = tags.get(322, (0,))[0] * tags.get(323, (0,))[0]
    if bits > 16 or tags.get(339, (1,))[0] not in {1, 4}:
        raise ValueError("{}-bit floating-point or signed samples: convert it to 8 or 16 bits".format(bits))
    if bits not in {1, 2, 4, 8, 16}:
        raise ValueError("{} bits in each sample: convert it to 8 or 16 bits".format(bits))
    extra = tags.get(338, ())
    gray = tags.get(262, (1,))[0] in {0, 1}
    if samples == 2 and gray:
        raise ValueError("a gray TIFF with transparency: save it as PNG")
    _refuse_missing_strips(content, tags)
    alpha = ""
    if samples == 4 and tags.get(262, (1,))[0] == 2:
        multiplied = extra[:1] == (1,) or (bits == 8 and extra[:1] == (2,))  # OpenCV premultiplies 8-bit samples itself
        alpha = "premultiplied" if multiplied else "straight"
    rows = max(height, -(-tile // max(1, width)))
    return Header("TIFF", rows if tile else height, width, samples, bits, alpha)


def _refuse_missing_strips(content: bytes, tags: Dict[int, Tuple[int, ...]]) -> None:
    for starts, sizes in ((273, 279), (324, 325)):
        ends = list(map(sum, zip(tags.get(starts, ()), tags.get(sizes, ()))))  # noqa: B905 - not in Python 3.9
        if max(ends, default=0) > len(content):
            raise ValueError("truncated TIFF: {} of at least {} bytes".format(len(content), max(ends)))


def tiff_tags(content: bytes, base: int) -> Dict[int, Tuple[int, ...]]:
    """Return the integers in the first directory of a TIFF file, or of the EXIF block at `base`, by tag.

    Raises:
        ValueError: the directory is larger than in any real file.
        struct.error: the directory is truncated.
    """
    order = "<" if content[base : base + 2] == b"II" else ">"
    big = content[base + 2 : base + 4] in {b"+\x00", b"\x00+"}  # BigTIFF: 8-byte counts and offsets
    word, entry_size, count_format = ("Q", 20, "Q") if big else ("I", 12, "H")
    (start,) = struct.unpack_from(order + word, content, base + (8 if big else 4))
    (count,) = struct.unpack_from(order + count_format, content, base + start)
    first = base + start + struct.calcsize(order + count_format)
    tags: Dict[int, Tuple[int, ...]] = {}
    for place in range(first, first + entry_size * min(count, _MOST_TAGS), entry_size):
        tag, kind, number = struct.unpack_from(order + "HH" + word, content, place)
        if kind not in _TIFF_FORMATS:
            continue
        if number > _MOST_STRIPS:
            raise ValueError("damaged TIFF: a tag of {} numbers".format(number))
        values = "{}{}{}".format(order, number, _TIFF_FORMATS[kind])
        at = place + (12 if big else 8)
        if struct.calcsize(values) > (8 if big else 4):
            at = base + int(struct.unpack_from(order + word, content, at)[0])
        tags[tag] = struct.unpack_from(values, content, at)
    return tags


def orientation(exif: bytes) -> int:
    """Return the orientation 1…8 in the first directory of a TIFF header (EXIF 2.32, 4.6.2); 1 if there is none."""
    if exif[:4] not in {b"II*\x00", b"MM\x00*"}:
        return 1
    try:
        value: Optional[Tuple[int, ...]] = tiff_tags(exif, 0).get(ORIENTATION)
    except (struct.error, ValueError):
        return 1
    return value[0] if value and 1 <= value[0] <= 8 else 1
