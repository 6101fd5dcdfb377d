"""The transferred stream: chunks in a tar archive, compressed if that saves enough, within a rate limit."""

from __future__ import annotations

import re
import tarfile
import threading
import time
import zlib
from collections.abc import Iterable, Iterator
from functools import lru_cache

from toolkit.errors import UsageError
from toolkit.fleet.ssh.shell import BLOCK_BYTES
from toolkit.fleet.transfer.chunks import Chunk

_GAIN = 0.8
"""A chunk is compressed if that makes it smaller than this share; weights shrink too little (docs/adr/0009)."""
_SAMPLE_BYTES = 16 << 10
_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}


class RateLimit:
    """A limit in bytes per second, shared by all threads."""

    def __init__(self, bytes_per_s: float) -> None:
        self.bytes_per_s = bytes_per_s
        self._lock = threading.Lock()
        self._free_at = 0.0

    def take(self, size_bytes: int) -> None:
        """Block until this number of bytes may be sent."""
        with self._lock:
            now = time.monotonic()
            start = max(now, self._free_at)
            self._free_at = start + size_bytes / self.bytes_per_s
        time.sleep(start - now)


def parse_rate_limit(text: str) -> RateLimit:
    """Parse a rate in bytes per second, such as "500k", "2M" or "100000".

    Raises:
        UsageError: the text is not a rate.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kMG]?)", text)
    rate = float(match[1]) * _UNITS[match[2]] if match else 0.0
    if rate < 1:
        raise UsageError("is not a valid bandwidth", where=text, remedy="give bytes a second, such as 500k or 2M")
    return RateLimit(rate)


def tar_stream(chunks: Iterable[Chunk], rate_limit: RateLimit | None = None) -> Iterator[bytes]:
    """Yield a tar archive (POSIX.1-1988) of the chunks, named SHA256, or SHA256.z if compressed by zlib.

    Raises:
        FleetError: a file has changed since its digest was taken.
    """
    for block in _blocks(chunks):
        if rate_limit is not None:
            rate_limit.take(len(block))
        yield block


def _blocks(chunks: Iterable[Chunk]) -> Iterator[bytes]:
    """Yield the archive in blocks of BLOCK_BYTES, the last one smaller: many small files fill one."""
    waiting = bytearray()
    for member in _members(chunks):
        waiting += member
        whole = len(waiting) // BLOCK_BYTES * BLOCK_BYTES
        for start in range(0, whole, BLOCK_BYTES):
            yield bytes(waiting[start : start + BLOCK_BYTES])
        del waiting[:whole]
    yield bytes(waiting)


def _members(chunks: Iterable[Chunk]) -> Iterator[bytes]:
    for chunk in chunks:
        content, suffix = compress(chunk)
        yield tar_member(chunk.sha256 + suffix, content)
    yield bytes(2 * tarfile.BLOCKSIZE)


def tar_member(name: str, content: bytes) -> bytes:
    """Return one file of a tar archive, header and padding included."""
    header = tarfile.TarInfo(name)
    header.size = len(content)
    return header.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % tarfile.BLOCKSIZE)


def compress(chunk: Chunk) -> tuple[bytes, str]:
    """Return the bytes to transfer and the suffix of their name: ".z" if compressed, else "".

    Raises:
        FleetError: the file has changed since its digest was taken.
    """
    compressed = _compressed(chunk)
    return (chunk.read(), "") if compressed is None else (compressed, ".z")


@lru_cache(maxsize=512)
def _compressed(chunk: Chunk) -> bytes | None:
    """Return the chunk compressed, or None if that does not pay; computed once for all devices."""
    content = chunk.read()
    if len(zlib.compress(content[:_SAMPLE_BYTES], 1)) > _GAIN * min(len(content), _SAMPLE_BYTES):
        return None
    compressed = zlib.compress(content, 6)
    return compressed if len(compressed) < _GAIN * len(content) else None
