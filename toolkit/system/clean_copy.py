"""Clean copies of Keras files from outside: files that this process wrote from plain values.

A confined worker reads the ZIP archive or the HDF5 file; Keras and h5py read the copy only. External storage, links and
anything else that HDF5 can do besides holding arrays stays behind.
"""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.system.sandbox import ResourceLimits, Sandbox, SandboxError

CONFIGURATION, FACTS, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
_MAX_MEMBER_BYTES = {CONFIGURATION: 64 << 20, FACTS: 1 << 20}
_MAX_BYTES = 4 << 30
_LIMITS = ResourceLimits(memory_bytes=16 << 30, file_bytes=0, seconds=120)
"""Of address space: twice the largest file, and the libraries."""
_KINDS = "biufSV"
"""Of NumPy: numbers, text of fixed length, and bfloat16 as HDF5 has it."""


@contextmanager
def clean_copy(path: Path) -> Iterator[Path]:
    """The path of a copy of a .keras or .h5 file, which lasts as long as the context.

    Raises:
        OSError: there is no such file, or it may not be read.
        ValueError: it is damaged, holds more than numbers and text, or needs too much memory.
    """
    path.open("rb").close()
    try:
        with Sandbox([path], limits=_LIMITS) as sandbox:
            members, objects = sandbox.call("toolkit.system.clean_copy:read_here", path=path.absolute())
    except SandboxError as error:
        raise ValueError(error.problems[0].what.removeprefix("cannot be read: ")) from None
    with tempfile.TemporaryDirectory(prefix="toolkit-keras-") as folder:
        copy = Path(folder, path.name)
        if members:
            weights = Path(folder, WEIGHTS)
            _write(objects, weights)
            with zipfile.ZipFile(copy, "w") as archive:
                for name in members.keys() & {CONFIGURATION, FACTS}:
                    archive.writestr(name, members[name])
                archive.write(weights, WEIGHTS)
        else:
            _write(objects, copy)
        yield copy


def check_sizes(archive: zipfile.ZipFile) -> None:
    """Check how large the members of a .keras file are, before any is read.

    Raises:
        ValueError: one needs too much memory.
    """
    for member in archive.infolist():
        if member.file_size > _MAX_MEMBER_BYTES.get(member.filename, _MAX_BYTES):
            raise ValueError(f"its {member.filename} is {member.file_size:,} bytes large")


def read_here(path: str) -> tuple[dict[str, bytes], list[dict[str, Any]]]:
    """The JSON members of an archive and the objects of its weights, or those of an HDF5 file; run in a confined worker."""
    if not zipfile.is_zipfile(path):
        return {}, _objects(path)
    with zipfile.ZipFile(path) as archive:
        check_sizes(archive)
        members = {name: archive.read(name) for name in archive.namelist() if name in {CONFIGURATION, FACTS}}
        return members, _objects(io.BytesIO(archive.read(WEIGHTS)))


def _objects(file: Any) -> list[dict[str, Any]]:
    """Every group and data set as a dictionary: its name, attributes, and, of a data set, bytes, type and shape."""
    import h5py

    objects, size = [], 0

    def visit(name: str, item: Any) -> None:
        nonlocal size
        entry: dict[str, Any] = {"name": name, "attributes": dict(_attributes(item))}
        if isinstance(item, h5py.Dataset):
            size += item.nbytes
            if size > _MAX_BYTES:
                raise ValueError(f"its arrays need more than {_MAX_BYTES >> 30} GiB of memory")
            if item.dtype.kind not in _KINDS or item.external or item.is_virtual:
                raise ValueError(f"{name} is no plain array of numbers")
            entry |= {"content": item[()].tobytes(), "type": item.dtype.str, "shape": list(item.shape)}
        objects.append(entry)

    with h5py.File(file) as opened:
        visit("", opened)
        opened.visititems(visit)
    return objects


def _attributes(item: Any) -> Iterator[tuple[str, Any]]:
    """Text, numbers, and lists of texts."""
    for name, value in item.attrs.items():
        if isinstance(value, np.ndarray) and value.dtype.kind in "SO":
            yield name, [bytes(one) if isinstance(one, bytes) else str(one) for one in value.ravel()]
        elif isinstance(value, bytes):
            yield name, bytes(value)
        elif isinstance(value, str):
            yield name, str(value)
        elif isinstance(value, np.ndarray | np.generic):
            yield name, np.asarray(value)


def _write(objects: list[dict[str, Any]], path: Path) -> None:
    """Write what `_objects` read, and nothing that is not of the types that it may have."""
    import h5py

    with h5py.File(path, "w") as file:
        for one in objects:
            name = str(one["name"])
            if "content" in one:
                kind = np.dtype(str(one["type"]))
                if kind.kind not in _KINDS:
                    raise ValueError(f"{name} is no plain array of numbers")
                item = file.create_dataset(name, data=np.frombuffer(one["content"], kind).reshape(one["shape"]))
            else:
                item = file.require_group(name) if name else file
            for key, value in one["attributes"].items():
                item.attrs[str(key)] = _attribute(value)


def _attribute(value: Any) -> Any:
    import h5py

    if not isinstance(value, list):
        return value
    return np.array(value, "S" if all(isinstance(one, bytes) for one in value) else h5py.string_dtype())
