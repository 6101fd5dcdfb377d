"""MNIST's idx files: train and t10k, images and labels, gzipped or not; also used by Fashion-MNIST and others.

magic 0, 0, type (8: unsigned byte), number of dimensions; each dimension as a big-endian u32; then the bytes
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit import hashing
from toolkit.data.formats.scan import Scan
from toolkit.data.materialize import ArrayDataset, ArrayReader, ArraySubset, unpack_arrays
from toolkit.errors import DataError, Problem
from toolkit.experiment.schema import DataConfig
from toolkit.progress import Progress
from toolkit.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_SUBSETS = {"train": "train", "t10k": "test"}
_SOURCE = (
    "put the four idx files there, gzipped or not (Debian's package dataset-fashion-mnist has Fashion-MNIST's in "
    "/usr/share/datasets/fashion-mnist)"
)
_MAX_BYTES = 1 << 31


def read_idx(table: DataConfig, root: Path, workspace: Workspace, progress: Progress) -> Scan:
    """The images of the idx files in folder `root`, unpacked.

    Raises:
        DataError: with every file that is missing, cut short or not what its name says.
    """
    files = _files(root)
    source = {name: hashing.sha256_file(path) for name, path in files.items()} | {"classes": list(table.classes)}
    arguments = {"files": files, "classes": list(table.classes)}
    reader = ArrayReader("toolkit.data.formats.idx:load", arguments, root)
    return unpack_arrays(root.name or "idx", source, reader, workspace, progress)


def parse_idx(path: Path, dimensions: int) -> npt.NDArray[np.uint8]:
    """The array in an idx file of unsigned bytes with that many dimensions.

    Raises:
        ValueError: the file is not valid; names the problem.
    """
    import numpy as np

    content = _content(path)
    if len(content) < 4:
        raise ValueError(f"truncated: {len(content)} bytes are not an idx file")
    zero, kind, rank = struct.unpack_from(">HBB", content)
    if zero or kind != 8 or rank != dimensions:
        raise ValueError(f"wrong magic {content[:4].hex(' ')}, expected 00 00 08 {dimensions:02}")
    if len(content) < 4 + 4 * dimensions:
        raise ValueError("truncated within its header")
    shape = struct.unpack_from(f">{dimensions}I", content, 4)
    size, held = int(np.prod([int(edge) for edge in shape], dtype=object)), len(content) - 4 - 4 * dimensions
    if size != held:
        state = "truncated" if held < size else "longer than it says"
        raise ValueError(f"{state}: {held} bytes of data, its header says {size}")
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def _content(path: Path) -> bytes:
    """The file's bytes, inflated if they are gzipped, whatever its name."""
    with path.open("rb") as stream:
        zipped = stream.read(2) == b"\x1f\x8b"
    if not zipped:
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError(f"is larger than the limit of {_MAX_BYTES >> 20} MiB")
        return path.read_bytes()
    try:
        with gzip.open(path) as stream:
            content = stream.read(_MAX_BYTES + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"truncated or damaged gzip file: {error}") from None
    if len(content) > _MAX_BYTES:
        raise ValueError(f"expands beyond the limit of {_MAX_BYTES >> 20} MiB")
    return content


def _files(root: Path) -> dict[str, Path]:
    """Each of the four files by its plain name."""
    names = [f"{subset}-{what}" for subset in _SUBSETS for what in ("images-idx3-ubyte", "labels-idx1-ubyte")]
    files = {name: path for name in names if (path := _spelled(root, name))}
    missing = [name for name in names if name not in files]
    if missing:
        raise DataError.from_problems([Problem("no such file", str(root / name), _SOURCE) for name in missing])
    return files


def _spelled(root: Path, name: str) -> Path | None:
    spellings = (name, f"{name}.gz", name.replace("-idx", ".idx"), f"{name.replace('-idx', '.idx')}.gz")
    return next((root / spelling for spelling in spellings if (root / spelling).is_file()), None)


def load(files: Mapping[str, str], classes: Sequence[str]) -> ArrayDataset:
    """The data set in the four files, by their plain names; run in a confined worker.

    Raises:
        DataError: with everything that is wrong with them.
    """
    read, problems = {}, []
    for name, path in ((name, Path(file)) for name, file in files.items()):
        try:
            read[name] = parse_idx(path, 3 if "images" in name else 1)
        except (ValueError, OSError) as error:
            problems.append(Problem(str(error), str(path), "download it again: it is incomplete"))
    if problems:
        raise DataError.from_problems(problems)
    pairs = {subset: (read[f"{subset}-images-idx3-ubyte"], read[f"{subset}-labels-idx1-ubyte"]) for subset in _SUBSETS}
    named = tuple(classes) or tuple(str(number) for number in range(_greatest(pairs) + 1))
    for subset, (images, labels) in pairs.items():
        problems += _problems(len(images), labels, len(named), Path(files[f"{subset}-labels-idx1-ubyte"]))
    if problems:
        raise DataError.from_problems(problems)
    return ArrayDataset(
        named,
        tuple(ArraySubset(_SUBSETS[subset], images, labels.tolist()) for subset, (images, labels) in pairs.items()),
    )


def _greatest(pairs: dict[str, tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]]) -> int:
    return max((int(labels.max()) for _, labels in pairs.values() if len(labels)), default=0)


def _problems(images: int, labels: npt.NDArray[np.uint8], classes: int, path: Path) -> list[Problem]:
    problems = []
    if images != len(labels):
        what = f"{len(labels)} labels for {images} images"
        problems.append(Problem(what, str(path), "use images and labels of the same set"))
    if len(labels) and labels.max() >= classes:
        what = f"label {labels.max()}, but data.classes names {classes}"
        problems.append(Problem(what, str(path), "name every class, in the order of the numbers"))
    return problems
