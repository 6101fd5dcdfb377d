"""Images out of array files and archives, written once as ordinary files, so that all that follows sees image files.

workspace/data/NAME-DIGEST12/ is built beside and renamed: it is there whole or not at all. Arrays become PNG files that
are stored, not compressed, so their bytes (and with them the split's digest) are the same on every machine.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit import hashing
from toolkit.data.formats.folders import ImageFile, Scan
from toolkit.data.parallel import parallel_map
from toolkit.errors import DataError, MachineError
from toolkit.progress import Progress
from toolkit.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]

STAMP = "made.json"
_INDEX = "index.json"
_CODE = 1  # raised whenever the same source would give other files
_STORED_MOST = 0xFFFF  # bytes in a stored block (RFC 1951, 3.2.4)


@dataclass(frozen=True, slots=True)
class ArrayPart:
    """Images of one part: u8 [n, height, width] gray or [n, height, width, 3] RGB, and an index into the labels each."""

    part: str
    pixels: Pixels
    labels: Sequence[int]


@dataclass(frozen=True, slots=True)
class ArrayDataset:
    """A whole data set in memory."""

    labels: tuple[str, ...]
    blocks: tuple[ArrayPart, ...]


def make_folder(folder: Path, stamp: Mapping[str, object], fill: Callable[[Path], None]) -> bool:
    """Let `fill` put files into a folder beside, then rename it to `folder`; False if it is there with all its files.

    Raises:
        MachineError: the files cannot be written, such as for want of room.
    """
    if _is_whole(folder, stamp):
        return False
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        fill(beside)
        (beside / STAMP).write_bytes(hashing.canonical_json({**stamp, "files": _count(beside)}))
        beside.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        beside.rename(folder)
    except OSError as error:
        what = f"cannot be written: {error.strerror or error}"
        raise MachineError(what, where=str(folder), remedy="make room there, or choose another --workspace") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return True


def unpack_arrays(
    name: str, source: Mapping[str, object], read: Callable[[], ArrayDataset], workspace: Workspace, progress: Progress
) -> Scan:
    """The images that `read` gives, as files; `read` is only called if they are not there. `source` names what is read.

    Raises:
        DataError: whatever `read` finds wrong.
        MachineError: the files cannot be written.
    """
    folder = unpacked_folder(name, source, workspace)
    kept = _listed(folder)
    if kept is None and folder.exists():
        shutil.rmtree(folder)
    make_folder(folder, {"code": _CODE, "source": dict(source)}, lambda beside: _write(read(), beside, name, progress))
    scanned = kept or _listed(folder)
    if scanned is None:
        raise DataError("the unpacked images are gone", where=str(folder), remedy="prepare the data again")
    return scanned


def unpacked_folder(name: str, source: Mapping[str, object], workspace: Workspace) -> Path:
    """Where what is unpacked from `source` lies."""
    digest = hashing.sha256_json({"code": _CODE, "source": dict(source)})
    return workspace.folder("data") / f"{name}-{digest[:12]}"


def encode_png(image: Pixels) -> bytes:
    """`image`, u8 [height, width] gray or [height, width, 3] RGB, as a PNG file (RFC 2083) of stored blocks."""
    height, width = image.shape[:2]
    color = 2 if image.ndim == 3 else 0
    rows = b"".join(b"\x00" + image[row].tobytes() for row in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, color, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", b"\x78\x01" + _stored(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, content) for kind, content in parts)


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
        found = json.loads((folder / STAMP).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and found == json.loads(
        hashing.canonical_json({**stamp, "files": _count(folder) - 1})  # the stamp itself
    )


def _count(folder: Path) -> int:
    return sum(len(files) for _, _, files in os.walk(folder))


def _write(arrays: ArrayDataset, folder: Path, name: str, progress: Progress) -> None:
    """Every image as PART/CLASS/NUMBER.png, and the index that says which is which."""
    told = list(_placed(arrays))
    for parent in {folder / Path(file).parent for file, _, _ in told}:
        parent.mkdir(parents=True)
    parallel_map(
        lambda one: (folder / one[0]).write_bytes(encode_png(one[1])),
        [(file, block.pixels[row]) for file, block, row in told],
        f"unpacking {name}",
        progress,
    )
    listed = [[file, block.labels[row], block.part] for file, block, row in told]
    (folder / _INDEX).write_bytes(hashing.canonical_json({"labels": arrays.labels, "images": listed}))


def _placed(arrays: ArrayDataset) -> Iterator[tuple[str, ArrayPart, int]]:
    """Each image's file name, block and row; numbers run through a part, so that they say where an image was."""
    folders = [f"{index:03}-{re.sub(r'[^A-Za-z0-9._-]+', '-', label)}" for index, label in enumerate(arrays.labels)]
    numbers: dict[str, int] = {}
    for block in arrays.blocks:
        for row, label in enumerate(block.labels):
            number = numbers[block.part] = numbers.get(block.part, -1) + 1
            yield f"{block.part}/{folders[label]}/{number:05}.png", block, row


def _listed(folder: Path) -> Scan | None:
    """What the index of an unpacked folder names; None if it is not there or an image is missing."""
    try:
        index = json.loads((folder / _INDEX).read_bytes())
        labels = tuple(str(label) for label in index["labels"])
        found = tuple(ImageFile(folder / file, labels[label], part) for file, label, part in index["images"])
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None
    return Scan(folder, found, (), (), labels) if all(one.path.is_file() for one in found) else None
