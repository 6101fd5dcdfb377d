"""Write the images of array files and archives as ordinary files, once, so that later steps only handle image files.

workspace/data/NAME-DIGEST12/ is built under a temporary name and renamed, so it is either complete or absent. Arrays become
uncompressed PNG files, so their bytes (and therefore the split's digest) are the same on every machine.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit import hashing
from toolkit.data.archives import iter_files
from toolkit.data.formats.scan import ImageFile, Scan
from toolkit.data.parallel import batched, prefetch
from toolkit.errors import DataError, MachineError
from toolkit.progress import Progress
from toolkit.system.cpu_quota import available_cpus
from toolkit.system.sandbox import ResourceLimits, Sandbox
from toolkit.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]

STAMP = "made.json"
_INDEX = "index.json"
_CODE = 1  # raised whenever the same source would give other files
_BATCH = 200
_LIMITS = ResourceLimits(memory_bytes=8 << 30, seconds=3600)
_STORED_MOST = 0xFFFF  # bytes in a stored block (RFC 1951, 3.2.4)


@dataclass(frozen=True, slots=True)
class ArraySubset:
    """Images of one subset: u8 [n, height, width] gray or [n, height, width, 3] RGB, and an index into the labels each."""

    subset: str
    pixels: Pixels
    labels: Sequence[int]


@dataclass(frozen=True, slots=True)
class ArrayDataset:
    """A whole data set in memory."""

    labels: tuple[str, ...]
    subsets: tuple[ArraySubset, ...]


def make_folder(folder: Path, stamp: Mapping[str, object], fill: Callable[[Path], None]) -> bool:
    """Let `fill` put files into a folder beside, then rename it to `folder`; False if it is there with all its files.

    Raises:
        MachineError: the files cannot be written, for example because the disk is full.
    """
    if _is_whole(folder, stamp):
        return False
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        fill(partial)
        (partial / STAMP).write_bytes(hashing.canonical_json({**stamp, "files": _count(partial)}))
        partial.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
    except OSError as error:
        raise _cannot_write(folder, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)  # gone if it was renamed; a full disk must not hide its own error
    return True


@dataclass(frozen=True, slots=True)
class ArrayReader:
    """A function that reads an array data set, called in a confined worker."""

    function: str
    """MODULE:FUNCTION, which returns an ArrayDataset."""
    arguments: Mapping[str, object]
    root: Path
    """The file or folder that it reads."""


def extract(archives: Sequence[Path], folder: Path, rule: str) -> int:
    """Write members of tar archives to `folder`, in a confined worker; returns the number of files.

    Args:
        archives: The archives, one after another.
        folder: Where the files go.
        rule: MODULE:FUNCTION that maps a member's name to a path below `folder`, or to None to leave it out.

    Raises:
        DataError: an archive is damaged, too large, or names paths outside itself.
        MachineError: the files cannot be written.
    """
    with Sandbox(archives, [folder], _LIMITS) as worker:
        return int(
            worker.call("toolkit.data.materialize:extract_here", archives=list(archives), folder=folder, rule=rule)
        )


def extract_here(archives: Sequence[str], folder: str, rule: str) -> int:
    """What `extract` runs in the worker."""
    target_of = _resolve(rule)
    number = 0
    for archive in archives:
        for member, content in iter_files(Path(archive), lambda member: target_of(str(member)) is not None):
            place = Path(folder, str(target_of(str(member))))
            try:
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(content)
            except OSError as error:
                raise _cannot_write(Path(folder), error) from None
            number += 1
    return number


def unpack_arrays(
    name: str, source: Mapping[str, object], reader: ArrayReader, workspace: Workspace, progress: Progress
) -> Scan:
    """Return the images of `reader` as files; it is only called if they do not exist. `source` names the input.

    Raises:
        DataError: whatever `reader` finds wrong.
        MachineError: the files cannot be written.
    """
    folder = unpacked_folder(name, source, workspace)
    cached = _listed(folder)
    if cached is None and folder.exists():
        shutil.rmtree(folder)
    make_folder(
        folder, {"code": _CODE, "source": dict(source)}, lambda partial: _unpack(reader, partial, name, progress)
    )
    scan = cached or _listed(folder)
    if scan is None:
        raise DataError("the unpacked images are missing", where=str(folder), remedy="prepare the data again")
    return scan


def unpacked_folder(name: str, source: Mapping[str, object], workspace: Workspace) -> Path:
    """Return the folder for the files unpacked from `source`."""
    digest = hashing.sha256_json({"code": _CODE, "source": dict(source)})
    return workspace.folder("data") / f"{name}-{digest[:12]}"


def encode_png(image: Pixels) -> bytes:
    """`image`, u8 [height, width] gray or [height, width, 3] RGB, as a PNG file (RFC 2083) of stored blocks."""
    height, width = image.shape[:2]
    color = 2 if image.ndim == 3 else 0
    rows = b"".join(b"\x00" + image[row].tobytes() for row in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, color, 0, 0, 0)
    subsets = ((b"IHDR", header), (b"IDAT", b"\x78\x01" + _stored(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, content) for kind, content in subsets)


def _stored(content: bytes) -> bytes:
    starts = range(0, len(content), _STORED_MOST)
    blocks = (
        struct.pack("<BHH", start == starts[-1], len(piece), len(piece) ^ 0xFFFF) + piece
        for start in starts
        for piece in [content[start : start + _STORED_MOST]]
    )
    return b"".join(blocks) + struct.pack(">I", zlib.adler32(content))


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _is_whole(folder: Path, stamp: Mapping[str, object]) -> bool:
    """Whether it was made of that and no file has gone since."""
    try:
        stamped = json.loads((folder / STAMP).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(stamped, dict) and stamped == json.loads(
        hashing.canonical_json({**stamp, "files": _count(folder) - 1})  # the stamp itself
    )


def _count(folder: Path) -> int:
    return sum(len(files) for _, _, files in os.walk(folder))


def _cannot_write(folder: Path, error: OSError) -> MachineError:
    what = f"cannot be written: {error.strerror or error}"
    return MachineError(what, where=str(folder), remedy="free some space there, or use another --workspace")


def _resolve(function: str) -> Callable[..., Any]:
    """The function that MODULE:FUNCTION names."""
    module, _, name = function.partition(":")
    resolved: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return resolved


def _unpack(reader: ArrayReader, folder: Path, name: str, progress: Progress) -> None:
    """Read and write all images in a confined worker."""
    arguments = {"reader": reader.function, "arguments": dict(reader.arguments), "folder": folder}
    with Sandbox([reader.root], [folder], _LIMITS) as worker:
        numbers = worker.stream("toolkit.data.materialize:unpack_here", **arguments)
        with progress.track(f"unpacking {name}, images", next(numbers)) as task:
            for number in numbers:
                task.advance(number)


def unpack_here(reader: str, arguments: Mapping[str, Any], folder: str) -> Iterator[int]:
    """What `unpack_arrays` runs in the worker: yields the number of images, then the numbers of those written since."""
    arrays: ArrayDataset = _resolve(reader)(**arguments)
    yield sum(len(subset.labels) for subset in arrays.subsets)
    try:
        yield from _write(arrays, Path(folder))
    except OSError as error:
        raise _cannot_write(Path(folder), error) from None


def _write(arrays: ArrayDataset, folder: Path) -> Iterator[int]:
    """Every image as SUBSET/CLASS/NUMBER.png, and the index of them all."""
    placed = list(_placed(arrays))
    for parent in {folder / Path(file).parent for file, _, _ in placed}:
        parent.mkdir(parents=True)

    def write(one: tuple[str, ArraySubset, int]) -> int:
        file, subset, row = one
        return (folder / file).write_bytes(encode_png(subset.pixels[row]))

    with closing(prefetch(write, placed, available_cpus(), 1000)) as written:
        for batch in batched(written, _BATCH):
            yield len(batch)
    listed = [[file, subset.labels[row], subset.subset] for file, subset, row in placed]
    (folder / _INDEX).write_bytes(hashing.canonical_json({"labels": arrays.labels, "images": listed}))


def _placed(arrays: ArrayDataset) -> Iterator[tuple[str, ArraySubset, int]]:
    """Each image's file name, subset and row; numbers run through a subset, so that they say where an image was."""
    folders = [f"{index:03}-{re.sub(r'[^A-Za-z0-9._-]+', '-', label)}" for index, label in enumerate(arrays.labels)]
    numbers: dict[str, int] = {}
    for subset in arrays.subsets:
        for row, label in enumerate(subset.labels):
            number = numbers[subset.subset] = numbers.get(subset.subset, -1) + 1
            yield f"{subset.subset}/{folders[label]}/{number:05}.png", subset, row


def _listed(folder: Path) -> Scan | None:
    """What the index of an unpacked folder names; None if it is not there or an image is missing."""
    try:
        index = json.loads((folder / _INDEX).read_bytes())
        labels = tuple(str(label) for label in index["labels"])
        images = tuple(ImageFile(folder / file, labels[label], subset) for file, label, subset in index["images"])
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None
    inside = all(".." not in image.path.parts and image.path.is_relative_to(folder) for image in images)
    return Scan(folder, images, order=labels) if inside and all(image.path.is_file() for image in images) else None
