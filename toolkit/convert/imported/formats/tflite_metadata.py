"""TensorFlow Lite's model metadata: the normalization of pixels.

The metadata is a FlatBuffer (metadata_schema.fbs) in a buffer of the model, which is itself a FlatBuffer (schema.fbs). Only
the path to NormalizationOptions is read; the numbers below are the positions of the fields in their tables.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from toolkit.convert.imported.file_facts import PixelScaling

_NAME = b"TFLITE_METADATA"
_MODEL_BUFFERS, _MODEL_METADATA = 4, 6
_METADATA_NAME, _METADATA_BUFFER = 0, 1
_BUFFER_DATA = 0
_SUBGRAPHS, _INPUTS, _PROCESS_UNITS = 3, 2, 4
_OPTIONS_TYPE, _OPTIONS, _NORMALIZATION = 0, 1, 1
_MEAN, _STD = 0, 1
_MOST_ITEMS = 10_000


@dataclass(frozen=True, slots=True)
class _Table:
    """A table of a FlatBuffer, at an offset in it."""

    content: bytes
    at: int

    def _place(self, field: int) -> int | None:
        vtable = self.at - _number("<i", self.content, self.at)
        entry = 4 + 2 * field
        if entry >= _number("<H", self.content, vtable):
            return None
        offset = _number("<H", self.content, vtable + entry)
        return self.at + offset if offset else None

    def integer(self, field: int, kind: str) -> int:
        place = self._place(field)
        return 0 if place is None else _number(kind, self.content, place)

    def vector(self, field: int) -> tuple[int, int]:
        """The offset of the first item, and their number."""
        place = self._place(field)
        if place is None:
            return 0, 0
        start = place + _number("<I", self.content, place)
        return start + 4, min(_number("<I", self.content, start), len(self.content))

    def tables(self, field: int) -> Iterator[_Table]:
        first, count = self.vector(field)
        for place in range(first, first + 4 * min(count, _MOST_ITEMS), 4):
            yield _Table(self.content, place + _number("<I", self.content, place))

    def table(self, field: int) -> _Table | None:
        place = self._place(field)
        return None if place is None else _Table(self.content, place + _number("<I", self.content, place))

    def content_of(self, field: int) -> bytes:
        first, count = self.vector(field)
        return self.content[first : first + count]

    def floats(self, field: int) -> tuple[float, ...]:
        first, count = self.vector(field)
        return struct.unpack_from(f"<{min(count, 4)}f", self.content, first)


def read_normalization(model: bytes) -> PixelScaling | None:
    """Return the mean and deviation of NormalizationOptions; None where a model names none, or is damaged."""
    try:
        return next(_normalizations(model), None)
    except (struct.error, IndexError):
        return None


def _normalizations(model: bytes) -> Iterator[PixelScaling]:
    metadata = _metadata(model)
    if metadata is None:
        return
    for subgraph in _root(metadata).tables(_SUBGRAPHS):
        for taken in subgraph.tables(_INPUTS):
            for unit in taken.tables(_PROCESS_UNITS):
                options = unit.table(_OPTIONS)
                if unit.integer(_OPTIONS_TYPE, "<B") == _NORMALIZATION and options is not None:
                    yield from _scaling(options.floats(_MEAN), options.floats(_STD))


def _scaling(mean: tuple[float, ...], std: tuple[float, ...]) -> Iterator[PixelScaling]:
    """Yield the scaling if there is one value or one for each channel, and no deviation of zero."""
    if len(mean) in {1, 3} and len(std) in {1, 3} and all(std):
        yield PixelScaling(_three(mean), _three(std))


def _three(values: tuple[float, ...]) -> tuple[float, float, float]:
    first, second, third = values * 3 if len(values) == 1 else values
    return first, second, third


def _metadata(model: bytes) -> bytes | None:
    root = _root(model)
    buffers = list(root.tables(_MODEL_BUFFERS))
    for entry in root.tables(_MODEL_METADATA):
        index = entry.integer(_METADATA_BUFFER, "<I")
        if entry.content_of(_METADATA_NAME) == _NAME and index < len(buffers):
            return buffers[index].content_of(_BUFFER_DATA)
    return None


def _root(content: bytes) -> _Table:
    return _Table(content, _number("<I", content, 0))


def _number(kind: str, content: bytes, at: int) -> int:
    if at < 0:
        raise IndexError(at)
    return int(struct.unpack_from(kind, content, at)[0])
