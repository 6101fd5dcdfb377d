"""CIFAR-10 and CIFAR-100 in their python and binary layouts, as the .tar.gz or as the folder it unpacks to.

Python: pickled dictionaries with "data", u8 [n, 3072] (red, green, blue planes of 32 x 32), and labels.
Binary: records of one label byte (CIFAR-100: coarse, then fine) and the same 3072 bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from toolkit import hashing
from toolkit.data.archives import iter_files
from toolkit.data.formats.pickles import read_pickle
from toolkit.data.formats.scan import Scan
from toolkit.data.materialize import ArrayDataset, ArrayReader, ArraySubset, unpack_arrays
from toolkit.errors import DataError, Problem
from toolkit.experiment.schema import DataConfig
from toolkit.progress import Progress
from toolkit.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_BYTES = 3 * 32 * 32
_AGAIN = "download it again: it is incomplete"
Files = Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class _Layout:
    """One of the four layouts: its files of images by subset, where the names of classes are, how a file is read."""

    subsets: Mapping[str, tuple[str, ...]]
    names: str
    labels_key: str
    """Which names or labels of a pickle; unused by the binary layouts."""
    read: Callable[[_Layout, bytes], tuple[npt.NDArray[np.uint8], list[int]]]
    label_bytes: int = 1
    label_at: int = 0
    per_file: str = ""
    """The key of the names' file that says how many images each file holds."""

    @property
    def files(self) -> tuple[str, ...]:
        """Every file that is needed."""
        return (*(name for names in self.subsets.values() for name in names), self.names)


def read_cifar(table: DataConfig, root: Path, workspace: Workspace, progress: Progress) -> Scan:
    """The images of the archive or folder `root`, unpacked; train and test as they were given.

    Raises:
        DataError: with every file that is missing, cut short or at odds with itself.
    """
    layouts = _LAYOUTS[table.source, table.labels]
    known = {name for layout in layouts for name in layout.files}
    digests = {"labels": table.labels, **_digests(root, known)}
    arguments = {"root": root, "source": table.source, "labels": table.labels}
    reader = ArrayReader("toolkit.data.formats.cifar:load", arguments, root)
    return unpack_arrays(table.source, digests, reader, workspace, progress)


def load(root: str, source: str, labels: str) -> ArrayDataset:
    """The data set in the archive or folder; run in a confined worker.

    Raises:
        DataError: with everything that is wrong with it.
    """
    layouts = _LAYOUTS[source, labels]
    known = {name for layout in layouts for name in layout.files}
    files = {path.name: content for path, content in iter_files(Path(root), lambda path: path.name in known)}
    layout = max(layouts, key=lambda layout: sum(name in files for name in layout.files))
    return _arrays(layout, files, Path(root))


def _digests(root: Path, known: set[str]) -> dict[str, str]:
    if root.is_dir():
        selects: Callable[[PurePosixPath], bool] = lambda path: path.name in known  # noqa: E731  # typed for mypy
        return {path.name: hashing.sha256_bytes(content) for path, content in iter_files(root, selects)}
    if root.is_file():
        return {"archive": hashing.sha256_file(root)}
    remedy = "put the archive (cifar-10-python.tar.gz or the like, as the University of Toronto publishes it) there"
    raise DataError("no such file or folder", where=str(root), remedy=remedy)


def _arrays(layout: _Layout, files: Files, root: Path) -> ArrayDataset:
    missing = [Problem("no such file in it", f"{root}: {name}", _AGAIN) for name in layout.files if name not in files]
    if missing:
        raise DataError.from_problems(missing)
    blocks, problems = [], []
    labels, each = _names(layout, files, root)
    for subset, name in ((subset, name) for subset, names in layout.subsets.items() for name in names):
        try:
            pixels, numbers = layout.read(layout, files[name])
            _check(pixels, numbers, len(labels), each)
            blocks.append(ArraySubset(subset, pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), numbers))
        except ValueError as error:
            problems.append(Problem(str(error), f"{root}: {name}", _AGAIN))
    if problems:
        raise DataError.from_problems(problems)
    return ArrayDataset(labels, tuple(blocks))


def _names(layout: _Layout, files: Files, root: Path) -> tuple[tuple[str, ...], int | None]:
    """The classes in the order of their numbers, and how many images each file must hold, where that is said."""
    if layout.read is _read_binary:
        lines = files[layout.names].decode("utf-8", "replace").splitlines()
        return tuple(line.strip() for line in lines if line.strip()), None
    try:
        metadata = read_pickle(files[layout.names])
    except ValueError as error:
        raise DataError(str(error), where=f"{root}: {layout.names}", remedy=_AGAIN) from None
    names, each = metadata.get(layout.labels_key), metadata.get(layout.per_file)
    if not (isinstance(names, list) and names and all(isinstance(name, str) for name in names)):
        what = f"has no list of text {layout.labels_key}"
        raise DataError(what, where=f"{root}: {layout.names}", remedy=_AGAIN)
    return tuple(names), each if isinstance(each, int) else None


def _read_pickled(layout: _Layout, content: bytes) -> tuple[npt.NDArray[np.uint8], list[int]]:
    batch = read_pickle(content)
    key = {"label_names": "labels", "fine_label_names": "fine_labels", "coarse_label_names": "coarse_labels"}
    pixels: Any = batch.get("data")
    labels = batch.get(key[layout.labels_key])
    if getattr(pixels, "ndim", 0) != 2 or pixels.shape[1] != _BYTES:
        raise ValueError(f"its data is not an array [n, {_BYTES}]")
    if not (isinstance(labels, list) and all(isinstance(label, int) for label in labels)):
        raise ValueError(f"has no list of numbers {key[layout.labels_key]}")
    return pixels, labels


def _read_binary(layout: _Layout, content: bytes) -> tuple[npt.NDArray[np.uint8], list[int]]:
    import numpy as np

    size = layout.label_bytes + _BYTES
    if not content or len(content) % size:
        raise ValueError(f"truncated: {len(content)} bytes are not a whole number of records of {size}")
    records = np.frombuffer(content, np.uint8).reshape(-1, size)
    return np.ascontiguousarray(records[:, layout.label_bytes :]), records[:, layout.label_at].tolist()


def _check(pixels: npt.NDArray[np.uint8], numbers: Sequence[int], classes: int, each: int | None) -> None:
    if len(numbers) != len(pixels):
        raise ValueError(f"{len(numbers)} labels for {len(pixels)} images")
    if each is not None and len(pixels) != each:
        raise ValueError(f"{len(pixels)} images; batches.meta says {each}")
    strange = sorted({number for number in numbers if not 0 <= number < classes})
    if strange:
        raise ValueError(f"label {strange[0]}, but there are {classes} classes")


def _ten(suffix: str) -> dict[str, tuple[str, ...]]:
    batches = tuple(f"data_batch_{number}{suffix}" for number in range(1, 6))
    return {"train": batches, "test": (f"test_batch{suffix}",)}


_TEN = (
    _Layout(_ten(""), "batches.meta", "label_names", _read_pickled, per_file="num_cases_per_batch"),
    _Layout(_ten(".bin"), "batches.meta.txt", "", _read_binary),
)


def _hundred(kind: str, label_at: int) -> tuple[_Layout, _Layout]:
    python = _Layout({"train": ("train",), "test": ("test",)}, "meta", f"{kind}_label_names", _read_pickled)
    files = {"train": ("train.bin",), "test": ("test.bin",)}
    names = f"{kind}_label_names.txt"
    return python, _Layout(files, names, "", _read_binary, label_bytes=2, label_at=label_at)


_LAYOUTS: Mapping[tuple[str, str], tuple[_Layout, ...]] = {
    ("cifar10", "fine"): _TEN,
    ("cifar100", "coarse"): _hundred("coarse", 0),
    ("cifar100", "fine"): _hundred("fine", 1),
}
