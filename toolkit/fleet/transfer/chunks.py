"""Where a file is cut, so that what two versions of it share is a piece of its own in both.

Weights (the .bin of an IR) are cut along their tensors, as the .xml tells: a large tensor begins a piece, and is divided
at a fixed size; small neighbors are joined. A tensor that stays the same is thus the same pieces, wherever it lies: a
retrained head over the same backbone is a few new ones. Other large files are divided at the fixed size, so that little
of them is sent twice after a cut.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

MOST_BYTES = 256 << 10
"""No piece is larger; a file up to this size is one."""
LEAST_BYTES = 64 << 10
"""Tensors from this size on begin a piece of their own."""

Source = Path | bytes
Span = tuple[int, int]
"""Where it begins and how long it is, in bytes."""

_TAG = re.compile(rb"<data\s[^>]*>")
_NUMBER = {name: re.compile(rb"\s" + name + rb'\s*=\s*"(\d+)"') for name in (b"offset", b"size")}


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a file."""

    sha256: str
    offset: int
    size_bytes: int


def tensors_of(xml: bytes) -> tuple[Span, ...]:
    """Where an IR's constants lie in its .bin; nothing if this is no IR."""
    found = ([pattern.search(tag) for pattern in _NUMBER.values()] for tag in _TAG.findall(xml))
    return tuple(sorted({(int(begin[1]), int(size[1])) for begin, size in found if begin and size}))


def cut(size_bytes: int, tensors: Iterable[Span] = ()) -> tuple[Span, ...]:
    """The pieces of a file, from its start to its end without gaps, none larger than MOST_BYTES."""
    if size_bytes <= MOST_BYTES:
        return ((0, size_bytes),)
    pieces: list[Span] = []
    for large, spans in groupby(_cover(size_bytes, tensors), lambda span: span[1] >= LEAST_BYTES):
        for begin, length in spans if large else _joined(spans):
            pieces += _divided(begin, length)
    return tuple(pieces)


def _cover(size_bytes: int, tensors: Iterable[Span]) -> Iterator[Span]:
    """The tensors and what lies between them; those that overlap another or leave the file are passed over."""
    reached = 0
    for begin, length in sorted(tensors):
        if reached <= begin and 0 < length <= size_bytes - begin:
            if begin > reached:
                yield reached, begin - reached
            yield begin, length
            reached = begin + length
    if reached < size_bytes:
        yield reached, size_bytes - reached


def _joined(spans: Iterable[Span]) -> Iterator[Span]:
    """Neighbors put together until they are large enough."""
    begin = length = 0
    for start, more in spans:
        begin = begin if length else start
        length += more
        if length >= LEAST_BYTES:
            yield begin, length
            length = 0
    if length:
        yield begin, length


def _divided(begin: int, length: int) -> Iterator[Span]:
    for offset in range(0, length, MOST_BYTES):
        yield begin + offset, min(MOST_BYTES, length - offset)


def chunks_of(source: Source, spans: Iterable[Span]) -> tuple[Chunk, ...]:
    """The pieces, each named by its content."""
    return tuple(Chunk(hashlib.sha256(read(source, *span)).hexdigest(), *span) for span in spans)


def read(source: Source, offset: int, size_bytes: int) -> bytes:
    """A piece's bytes; fewer where the source has become shorter."""
    if isinstance(source, bytes):
        return source[offset : offset + size_bytes]
    with source.open("rb") as stream:
        stream.seek(offset)
        return stream.read(size_bytes)
