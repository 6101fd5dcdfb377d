"""Numeric matrices from MATLAB files of level 5 (MAT-File Format, The MathWorks, chapter 1), as used by Oxford's flowers.

Only real numeric matrices are read; everything else in a file is refused by name, and every size is validated before use.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt

_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15
_INT8, _INT32, _UINT32 = 1, 5, 6
_COMPLEX = 0x08
# Storage types, and the classes of arrays that they may hold: MATLAB stores doubles in fewer bytes where they fit.
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_MAX_BYTES = 1 << 28


def read_mat(content: bytes) -> dict[str, npt.NDArray[Any]]:
    """Every matrix in the file by its name, in the type that MATLAB gives it, [rows, columns].

    Raises:
        ValueError: the file is not valid; names the problem.
    """
    order = _byte_order(content)
    matrices = {}
    for kind, body in _elements(content, _HEADER, order):
        if kind == _COMPRESSED:
            inner = list(_elements(_inflated(body), 0, order))
            if len(inner) != 1 or inner[0][0] != _MATRIX:
                raise ValueError("damaged: a compressed element that is not a matrix")
            body = inner[0][1]  # noqa: PLW2901  # what was inside
        elif kind != _MATRIX:
            raise ValueError(f"an element of type {kind}, neither a matrix nor a compressed one")
        name, matrix = _matrix(body, order)
        matrices[name] = matrix
    return matrices


def _byte_order(content: bytes) -> str:
    if len(content) < _HEADER:
        raise ValueError(f"truncated: {len(content)} bytes are not a MATLAB file")
    order = {b"IM": "<", b"MI": ">"}.get(content[126:128])
    if order is None or struct.unpack_from(f"{order}H", content, 124)[0] != 0x0100:
        raise ValueError("wrong magic: not a MATLAB file of level 5")
    return order


def _elements(content: bytes, at: int, order: str) -> Iterator[tuple[int, bytes]]:
    """Type and bytes of each data element; small ones hold both in eight bytes."""
    while at < len(content):
        if at + 8 > len(content):
            raise ValueError("truncated within a tag")
        (first, size) = struct.unpack_from(f"{order}II", content, at)
        if first >> 16:
            kind, size, start, end = first & 0xFFFF, first >> 16, at + 4, at + 8
            if size > 4:
                raise ValueError("damaged: a small element of more than four bytes")
        else:
            kind, start = first, at + 8
            end = start + size + (-size % 8 if kind != _COMPRESSED else 0)
        if start + size > len(content):
            raise ValueError(f"truncated: an element of {size} bytes with {len(content) - start} left")
        yield kind, content[start : start + size]
        at = end


def _inflated(body: bytes) -> bytes:
    inflater = zlib.decompressobj()
    try:
        content = inflater.decompress(body, _MAX_BYTES)
    except zlib.error as error:
        raise ValueError(f"damaged: {error}") from None
    if inflater.unconsumed_tail:
        raise ValueError(f"a matrix that expands beyond the limit of {_MAX_BYTES >> 20} MiB")
    if not inflater.eof:
        raise ValueError("truncated: a compressed element that does not end")
    return content


def _matrix(body: bytes, order: str) -> tuple[str, npt.NDArray[Any]]:
    """Flags, dimensions, name and numbers, in that order."""
    subsets = list(_elements(body, 0, order))
    kinds = [kind for kind, _ in subsets]
    if len(subsets) < 3 or kinds[:3] != [_UINT32, _INT32, _INT8] or len(subsets[0][1]) != 8 or len(subsets[1][1]) % 4:
        raise ValueError("damaged: a matrix without flags, dimensions or name")
    name = subsets[2][1].decode("ascii", "replace")
    (flags,) = struct.unpack_from(f"{order}I", subsets[0][1])
    if flags & 0xFF not in _CLASSES or flags >> 8 & _COMPLEX or len(subsets) != 4:
        raise ValueError(f'"{name}" is not a matrix of real numbers')
    shape = struct.unpack(f"{order}{len(subsets[1][1]) // 4}i", subsets[1][1])
    return name, _numbers(name, subsets[3], shape, order).astype(_CLASSES[flags & 0xFF])


def _numbers(name: str, subset: tuple[int, bytes], shape: tuple[int, ...], order: str) -> npt.NDArray[Any]:
    import numpy as np

    kind, content = subset
    if kind not in _STORED:
        raise ValueError(f'"{name}" contains numbers of the unknown type {kind}')
    dtype = np.dtype(f"{order}{_STORED[kind]}")
    numbers = 1
    for edge in shape:
        numbers *= edge
    if min(shape, default=-1) < 0 or numbers * dtype.itemsize != len(content):
        raise ValueError(f'"{name}" says its shape is {shape}, but has {len(content)} bytes of {dtype.itemsize} each')
    return np.frombuffer(content, dtype).reshape(shape, order="F")
