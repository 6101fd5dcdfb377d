"""CIFAR-10 and CIFAR-100 in their python and binary forms, as the .tar.gz or as the folder it unpacks to.

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
from toolkit.data.formats.folders import Scan
from toolkit.data.formats.pickles import read_pickle
from toolkit.data.materialize import ArrayDataset, ArrayPart, unpack_arrays
from toolkit.errors import DataError, Problem
from toolkit.experiment.schema import DataConfig
from toolkit.progress import Progress
from toolkit.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_BYTES = 3 * 32 * 32
_AGAIN = "fetch it again: it did not arrive whole"
Files = Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class _Form:
    """One of the four forms: its files of images by part, where the names of classes are, how a file is read."""

    parts: Mapping[str, tuple[str, ...]]
    names: str
    labels_key: str
    """Which names or labels of a pickle; unused by the binary forms."""
    read: Callable[[_Form, bytes], tuple[npt.NDArray[np.uint8], list[int]]]
    label_bytes: int = 1
    label_at: int = 0
    per_file: str = ""
    """The key of the names' file that says how many images each file holds."""

    @property
    def files(self) -> tuple[str, ...]:
        """Every file that is needed."""
        return (*(name for names in self.parts.values() for name in names), self.names)


def read_cifar(table: DataConfig, root: Path, workspace: Workspace, progress: Progress) -> Scan:
    """The images of the archive or folder `root`, unpacked; train and test as they were given.

    Raises:
        DataError: with every file that is missing, cut short or at odds with itself.
    """
    forms = _FORMS[table.source, table.labels]
    known = {name for form in forms for name in form.files}
    source = {"labels": table.labels, **_digests(root, known)}

    def read() -> ArrayDataset:
        files = {path.name: content for path, content in iter_files(root, lambda path: path.name in known)}
        form = max(forms, key=lambda form: sum(name in files for name in form.files))
        return _arrays(form, files, root)

    return unpack_arrays(table.source, source, read, workspace, progress)


def _digests(root: Path, known: set[str]) -> dict[str, str]:
    if root.is_dir():
        wanted: Callable[[PurePosixPath], bool] = lambda path: path.name in known  # noqa: E731  # typed for mypy
        return {path.name: hashing.sha256_bytes(content) for path, content in iter_files(root, wanted)}
    if root.is_file():
        return {"archive": hashing.sha256_file(root)}
    remedy = "put the archive (cifar-10-python.tar.gz or its like, as the University of Toronto gives it out) there"
    raise DataError("no such file or folder", where=str(root), remedy=remedy)


def _arrays(form: _Form, files: Files, root: Path) -> ArrayDataset:
    missing = [Problem("no such file in it", f"{root}: {name}", _AGAIN) for name in form.files if name not in files]
    if missing:
        raise DataError.from_problems(missing)
    blocks, problems = [], []
    labels, each = _names(form, files, root)
    for part, name in ((part, name) for part, names in form.parts.items() for name in names):
        try:
            pixels, numbers = form.read(form, files[name])
            _check(pixels, numbers, len(labels), each)
            blocks.append(ArrayPart(part, pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), numbers))
        except ValueError as error:
            problems.append(Problem(str(error), f"{root}: {name}", _AGAIN))
    if problems:
        raise DataError.from_problems(problems)
    return ArrayDataset(labels, tuple(blocks))


def _names(form: _Form, files: Files, root: Path) -> tuple[tuple[str, ...], int | None]:
    """The classes in the order of their numbers, and how many images each file must hold, where that is said."""
    if form.read is _read_binary:
        lines = files[form.names].decode("utf-8", "replace").splitlines()
        return tuple(line.strip() for line in lines if line.strip()), None
    try:
        told = read_pickle(files[form.names])
    except ValueError as error:
        raise DataError(str(error), where=f"{root}: {form.names}", remedy=_AGAIN) from None
    names, each = told.get(form.labels_key), told.get(form.per_file)
    if not (isinstance(names, list) and names and all(isinstance(name, str) for name in names)):
        what = f"has no list of text {form.labels_key}"
        raise DataError(what, where=f"{root}: {form.names}", remedy=_AGAIN)
    return tuple(names), each if isinstance(each, int) else None


def _read_pickled(form: _Form, content: bytes) -> tuple[npt.NDArray[np.uint8], list[int]]:
    held = read_pickle(content)
    key = {"label_names": "labels", "fine_label_names": "fine_labels", "coarse_label_names": "coarse_labels"}
    pixels: Any = held.get("data")
    labels = held.get(key[form.labels_key])
    if getattr(pixels, "ndim", 0) != 2 or pixels.shape[1] != _BYTES:
        raise ValueError(f"its data is no array [n, {_BYTES}]")
    if not (isinstance(labels, list) and all(isinstance(label, int) for label in labels)):
        raise ValueError(f"has no list of numbers {key[form.labels_key]}")
    return pixels, labels


def _read_binary(form: _Form, content: bytes) -> tuple[npt.NDArray[np.uint8], list[int]]:
    import numpy as np

    size = form.label_bytes + _BYTES
    if not content or len(content) % size:
        raise ValueError(f"truncated: {len(content)} bytes are not a whole number of records of {size}")
    records = np.frombuffer(content, np.uint8).reshape(-1, size)
    return np.ascontiguousarray(records[:, form.label_bytes :]), records[:, form.label_at].tolist()


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
    _Form(_ten(""), "batches.meta", "label_names", _read_pickled, per_file="num_cases_per_batch"),
    _Form(_ten(".bin"), "batches.meta.txt", "", _read_binary),
)


def _hundred(kind: str, label_at: int) -> tuple[_Form, _Form]:
    python = _Form({"train": ("train",), "test": ("test",)}, "meta", f"{kind}_label_names", _read_pickled)
    files = {"train": ("train.bin",), "test": ("test.bin",)}
    names = f"{kind}_label_names.txt"
    return python, _Form(files, names, "", _read_binary, label_bytes=2, label_at=label_at)


_FORMS: Mapping[tuple[str, str], tuple[_Form, ...]] = {
    ("cifar10", "fine"): _TEN,
    ("cifar100", "coarse"): _hundred("coarse", 0),
    ("cifar100", "fine"): _hundred("fine", 1),
}
