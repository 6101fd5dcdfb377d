"""Content-defined chunking: where files are split, so that their versions share chunks.

Weights (the .bin of an IR) are split along their tensors, which the .xml lists: a large tensor starts a new chunk and is split
at a fixed size; small neighbors are merged. An unchanged tensor therefore yields the same chunks at any offset: a retrained
head on the same backbone is only a few new chunks. Other large files are split at the fixed size, so that an interrupted
transfer repeats little.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BufferedReader
from itertools import groupby
from pathlib import Path

from toolkit.errors import FleetError

MAX_CHUNK_BYTES = 256 << 10
"""The largest chunk; a file up to this size is a single chunk."""
MIN_CHUNK_BYTES = 64 << 10
"""Tensors of at least this size start a chunk of their own."""

Source = Path | bytes
Span = tuple[int, int]
"""Offset and length in bytes."""

_TAG = re.compile(rb"<data\s[^>]*>")
_NUMBER = {name: re.compile(rb"\s" + name + rb'\s*=\s*"(\d+)"') for name in (b"offset", b"size")}


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bytes of a file, named by their digest."""

    sha256: str
    size_bytes: int
    source: Source
    offset: int = 0

    def read(self) -> bytes:
        """Return the chunk's bytes.

        Raises:
            FleetError: the file has changed since its digest was taken.
        """
        content = read(self.source, self.offset, self.size_bytes)
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise FleetError(f"changed while it was being sent: {self.source!s}", remedy="run the command again")
        return content


def tensors_of(xml: bytes) -> tuple[Span, ...]:
    """Return the spans of an IR's constants in its .bin; empty if the XML is not an IR."""
    result = ([pattern.search(tag) for pattern in _NUMBER.values()] for tag in _TAG.findall(xml))
    return tuple(sorted({(int(begin[1]), int(size[1])) for begin, size in result if begin and size}))


def split(size_bytes: int, tensors: Iterable[Span] = ()) -> tuple[Span, ...]:
    """Return the spans of a file's chunks: without gaps, none larger than MAX_CHUNK_BYTES."""
    if size_bytes <= MAX_CHUNK_BYTES:
        return ((0, size_bytes),)
    chunks: list[Span] = []
    for large, spans in groupby(_cover(size_bytes, tensors), lambda span: span[1] >= MIN_CHUNK_BYTES):
        for begin, length in spans if large else _merge(spans):
            chunks += _divide(begin, length)
    return tuple(chunks)


def _cover(size_bytes: int, tensors: Iterable[Span]) -> Iterator[Span]:
    """Yield the tensors and the gaps between them; skip tensors that overlap another or lie outside the file."""
    reached = 0
    for begin, length in sorted(tensors):
        if reached <= begin and 0 < length <= size_bytes - begin:
            if begin > reached:
                yield reached, begin - reached
            yield begin, length
            reached = begin + length
    if reached < size_bytes:
        yield reached, size_bytes - reached


def _merge(spans: Iterable[Span]) -> Iterator[Span]:
    """Merge neighbors until they reach MIN_CHUNK_BYTES."""
    begin = length = 0
    for start, more in spans:
        begin = begin if length else start
        length += more
        if length >= MIN_CHUNK_BYTES:
            yield begin, length
            length = 0
    if length:
        yield begin, length


def _divide(begin: int, length: int) -> Iterator[Span]:
    for offset in range(0, length, MAX_CHUNK_BYTES):
        yield begin + offset, min(MAX_CHUNK_BYTES, length - offset)


def chunks_of(source: Source, spans: Iterable[Span]) -> tuple[Chunk, ...]:
    """Return the chunks of a source at the given spans."""
    return tuple(
        Chunk(hashlib.sha256(read(source, offset, size)).hexdigest(), size, source, offset) for offset, size in spans
    )


def read(source: Source, offset: int, size_bytes: int) -> bytes:
    """Return a span's bytes; fewer if the source is shorter."""
    if isinstance(source, bytes):
        return source[offset : offset + size_bytes]
    with open_regular(source) as stream:
        stream.seek(offset)
        return stream.read(size_bytes)


def open_regular(path: Path) -> BufferedReader:
    """Open a regular file without following a symbolic link.

    Raises:
        OSError: it cannot be opened, is a link, or is not a regular file.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return os.fdopen(handle, "rb")
