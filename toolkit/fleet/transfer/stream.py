"""What travels: pieces of files in a tar archive, packed where that helps, no faster than the line may be used."""

from __future__ import annotations

import re
import tarfile
import threading
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from toolkit.errors import FleetError, UsageError
from toolkit.fleet.ssh.shell import CHUNK
from toolkit.fleet.transfer.chunks import Source, read

_GAIN = 0.8
"""A piece is packed if that makes it smaller than this; weights, which shrink by a tenth, are not (docs/adr/0009)."""
_SAMPLE_BYTES = 16 << 10
_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of a file, named by their content."""

    sha256: str
    size_bytes: int
    source: Source
    offset: int = 0


class Bandwidth:
    """So many bytes a second, for all threads together."""

    def __init__(self, bytes_per_s: float) -> None:
        self.bytes_per_s = bytes_per_s
        self._lock = threading.Lock()
        self._free_at = 0.0

    def take(self, size_bytes: int) -> None:
        """Wait until so many bytes may go."""
        with self._lock:
            now = time.monotonic()
            start = max(now, self._free_at)
            self._free_at = start + size_bytes / self.bytes_per_s
        time.sleep(start - now)


def parse_bandwidth(text: str) -> Bandwidth:
    """From "500k" (bytes a second), "2M" or "100000".

    Raises:
        UsageError: it is none.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([kMG]?)", text)
    rate = float(found[1]) * _UNITS[found[2]] if found else 0.0
    if rate < 1:
        raise UsageError("is no bandwidth", where=text, remedy="give bytes a second, such as 500k or 2M")
    return Bandwidth(rate)


def archive(pieces: Iterable[Piece], bandwidth: Bandwidth | None = None) -> Iterator[bytes]:
    """The pieces as a tar archive (POSIX.1-1988), made while it is read: each is named SHA256, or SHA256.z if packed.

    Raises:
        FleetError: a file has become shorter since its digest was taken.
    """
    for block in _blocks(pieces):
        for start in range(0, len(block), CHUNK):
            part = block[start : start + CHUNK]
            if bandwidth is not None:
                bandwidth.take(len(part))
            yield part


def _blocks(pieces: Iterable[Piece]) -> Iterator[bytes]:
    for piece in pieces:
        content, form = packed(piece)
        yield member(piece.sha256 + form, content)
    yield bytes(2 * tarfile.BLOCKSIZE)


def member(name: str, content: bytes) -> bytes:
    """One file of a tar archive."""
    header = tarfile.TarInfo(name)
    header.size = len(content)
    return header.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % tarfile.BLOCKSIZE)


def packed(piece: Piece) -> tuple[bytes, str]:
    """The bytes as they travel, and "" or ".z" for how.

    Raises:
        FleetError: the file has become shorter since its digest was taken.
    """
    smaller = _smaller(piece)
    return (_content(piece), "") if smaller is None else (smaller, ".z")


def _content(piece: Piece) -> bytes:
    content = read(piece.source, piece.offset, piece.size_bytes)
    if len(content) != piece.size_bytes:
        raise FleetError(f"changed while it was being sent: {piece.source!s}", remedy="run the command again")
    return content


@lru_cache(maxsize=512)
def _smaller(piece: Piece) -> bytes | None:
    """What zlib makes of it, if that is worth while; told once for all devices."""
    content = _content(piece)
    if len(zlib.compress(content[:_SAMPLE_BYTES], 1)) > _GAIN * min(len(content), _SAMPLE_BYTES):
        return None
    smaller = zlib.compress(content, 6)
    return smaller if len(smaller) < _GAIN * len(content) else None
