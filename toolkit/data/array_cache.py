"""Large cached arrays on disk: written atomically, then memory-mapped.

    NAME.npy     NumPy's own format; after the data, which NumPy ignores, the SHA-256 of everything before it (32 bytes)

Neither writing nor reading an array needs memory for all of it.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit import files
from toolkit.errors import MachineError
from toolkit.progress import format_bytes

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.generic]

_SEAL_BYTES = 32
_CHUNK_BYTES = 1 << 20


class RowWriter:
    """A new array's file, to be filled in any order and by any thread."""

    def __init__(self, handle: int, start: int, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> None:
        self._handle, self._start, self._shape, self._dtype = handle, start, shape, dtype
        self._stride = math.prod(shape[1:]) * dtype.itemsize

    def put(self, index: int, rows: Array) -> None:
        """Write `rows`, of the array's own type, from row `index` on."""
        if rows.dtype != self._dtype or rows.shape[1:] != self._shape[1:]:
            raise ValueError(f"rows {rows.dtype} {rows.shape} for an array {self._dtype} {self._shape}")
        _write(self._handle, rows.tobytes(), self._start + index * self._stride)


def load_or_create(
    path: Path,
    shape: tuple[int, ...],
    dtype: npt.DTypeLike,
    fill: Callable[[RowWriter], None],
    log: Callable[[str], None],
) -> Array:
    """The array at `path`, mapped, read-only; made by `fill` if it is not there, or made again if it is damaged.

    Raises:
        MachineError: the disk is too full.
    """
    cached = open_cached(path, shape, dtype)
    if cached is not None:
        return cached
    if path.exists():
        log(f"  {path} is damaged; creating it again")
    create(path, shape, dtype, fill)
    return _mapped(path)


def open_cached(path: Path, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array | None:
    """The array at `path`, mapped, read-only; None if it is not there, another one, or not what was written."""
    try:
        array = _mapped(path) if _is_whole(path, _mark(path)) else None
    except (OSError, ValueError):
        return None
    return array if array is not None and array.shape == shape and array.dtype == dtype else None


def create(path: Path, shape: tuple[int, ...], dtype: npt.DTypeLike, fill: Callable[[RowWriter], None]) -> None:
    """Have `fill` put every row of a new array, then give it its name.

    Raises:
        MachineError: the disk is too full; nothing is left behind.
    """
    import numpy as np

    kind = np.dtype(dtype)
    require_free_space(path.parent, math.prod(shape) * kind.itemsize)
    header = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": shape}
    try:
        with files.atomic_write(path, durable=False) as stream:
            np.lib.format.write_array_header_1_0(stream, header)
            stream.flush()
            start = stream.tell()
            fill(RowWriter(stream.fileno(), start, shape, kind))
            end = start + math.prod(shape) * kind.itemsize
            os.truncate(stream.fileno(), end)
            _write(stream.fileno(), _digest(stream.fileno(), end), end)
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise _no_room(path.parent, math.prod(shape) * kind.itemsize) from error


def require_free_space(folder: Path, size_bytes: int) -> None:
    """See that so much fits on the disk.

    Raises:
        MachineError: it does not.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(folder).free < size_bytes + _SEAL_BYTES:
        raise _no_room(folder, size_bytes)


def _no_room(folder: Path, size_bytes: int) -> MachineError:
    free = shutil.disk_usage(folder).free
    return MachineError(
        f"{format_bytes(size_bytes)} needed, {format_bytes(free)} free",
        where=str(folder),
        remedy="free some space, or use a --workspace on another disk",
    )


def _mapped(path: Path) -> Array:
    import numpy as np

    array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def _mark(path: Path) -> tuple[int, int, int]:
    """What changes when a file does."""
    state = path.stat()
    return state.st_ino, state.st_mtime_ns, state.st_size


@functools.lru_cache(maxsize=256)
def _is_whole(path: Path, mark: tuple[int, int, int]) -> bool:
    """Whether the file is still what was sealed; asked once for each state that it was seen in."""
    end = mark[2] - _SEAL_BYTES
    with path.open("rb") as stream:
        return end > 0 and os.pread(stream.fileno(), _SEAL_BYTES, end) == _digest(stream.fileno(), end)


def _digest(handle: int, end: int) -> bytes:
    """SHA-256 of the file's first `end` bytes."""
    total = hashlib.sha256()
    for at in range(0, end, _CHUNK_BYTES):
        total.update(os.pread(handle, min(_CHUNK_BYTES, end - at), at))
    return total.digest()


def _write(handle: int, content: bytes, at: int) -> None:
    """All of it: the system may take less at once."""
    view = memoryview(content)
    while view:
        done = os.pwrite(handle, view, at)
        view, at = view[done:], at + done
