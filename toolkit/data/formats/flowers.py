"""Oxford's 102 flowers: a folder with 102flowers.tgz (jpg/image_00001.jpg …), imagelabels.mat and setid.mat.

`labels` counts classes from 1; `trnid`, `valid` and `tstid` count images from 1. The files contain no class names: classes
are called "001" to "102" unless data.class_names names them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from toolkit import hashing
from toolkit.data.class_names import read_class_names
from toolkit.data.formats.matlab import read_mat
from toolkit.data.formats.scan import ImageFile, Scan
from toolkit.data.materialize import extract, make_folder, unpacked_folder
from toolkit.errors import DataError, Problem
from toolkit.experiment.schema import DataConfig
from toolkit.progress import Progress
from toolkit.system.sandbox import ResourceLimits, Sandbox
from toolkit.workspace import Workspace

if TYPE_CHECKING:
    import numpy.typing as npt

_ARCHIVE = "102flowers.tgz"
_IMAGE = re.compile(r"image_(\d{5})\.jpg")
_SUBSETS = {"trnid": "train", "valid": "validation", "tstid": "test"}
_SOURCE = "put the file there, as the Visual Geometry Group in Oxford publishes it with flowers-102"


def read_flowers(table: DataConfig, root: Path, workspace: Workspace, progress: Progress) -> Scan:
    """The images of folder `root` in their given subsets; the archive's are unpacked, those of jpg/ stay where they are.

    Raises:
        DataError: with every file that is missing, cut short or at odds with the others.
    """
    _require(root)
    numbers = _matrices(root)
    images = _images(root, workspace, progress)
    problems = _problems(numbers, images, root)
    if problems:
        raise DataError.from_problems(problems)
    labels = numbers["labels"]
    plain = [f"{number:03}" for number in range(1, max(labels) + 1)]
    names = read_class_names(table.class_names, plain)
    images_ = tuple(
        ImageFile(images[number], names[plain[labels[number - 1] - 1]], subset)
        for key, subset in _SUBSETS.items()
        for number in numbers[key]
    )
    return Scan(root, images_, order=tuple(names[label] for label in plain))


def _require(root: Path) -> None:
    lacking = [name for name in ("imagelabels.mat", "setid.mat") if not (root / name).is_file()]
    if not ((root / _ARCHIVE).is_file() or (root / "jpg").is_dir()):
        lacking.append(_ARCHIVE)
    if lacking:
        raise DataError.from_problems([Problem("no such file", str(root / name), _SOURCE) for name in lacking])


def _matrices(root: Path) -> dict[str, list[int]]:
    """labels, trnid, valid and tstid as whole numbers, read in a confined worker."""
    with Sandbox([root], limits=ResourceLimits(memory_bytes=4 << 30, seconds=120)) as worker:
        numbers: dict[str, list[int]] = worker.call("toolkit.data.formats.flowers:load_matrices", root=root)
    return numbers


def load_matrices(root: str) -> dict[str, list[int]]:
    """What the MATLAB files hold.

    Raises:
        DataError: with every file that is damaged or lacks a matrix.
    """
    numbers: dict[str, list[int]] = {}
    problems = []
    for file, names in {"imagelabels.mat": ("labels",), "setid.mat": tuple(_SUBSETS)}.items():
        path = Path(root, file)
        try:
            matrices = read_mat(path.read_bytes())
            numbers |= {name: _row(matrices, name) for name in names}
        except (ValueError, OSError) as error:
            problems.append(Problem(str(error), str(path), "download it again: it is incomplete"))
    if problems:
        raise DataError.from_problems(problems)
    return numbers


def _row(held: Mapping[str, npt.NDArray[Any]], name: str) -> list[int]:
    import numpy as np

    if name not in held:
        raise ValueError(f'has no matrix "{name}"')
    row = held[name].ravel()
    if not len(row) or not np.isfinite(row).all() or (row != np.floor(row)).any() or row.min() < 1:
        raise ValueError(f'"{name}" must be numbers from 1 on')
    return [int(number) for number in row]


def _images(root: Path, workspace: Workspace, progress: Progress) -> dict[int, Path]:
    """Each image by its number."""
    folder = root / "jpg" if (root / "jpg").is_dir() else _unpacked(root / _ARCHIVE, workspace, progress)
    matches = ((path, _IMAGE.fullmatch(path.name)) for path in sorted(folder.iterdir()))
    return {int(match[1]): path for path, match in matches if match}


def _unpacked(archive: Path, workspace: Workspace, progress: Progress) -> Path:
    source = {"archive": hashing.sha256_file(archive)}
    folder = unpacked_folder("flowers102", source, workspace)

    def fill(folder: Path) -> None:
        extract([archive], folder, "toolkit.data.formats.flowers:extracted_name")

    if make_folder(folder, source, fill):
        progress.log(f"unpacked {archive.name}")
    return folder


def extracted_name(member: str) -> str | None:
    """Where a member of the archive goes: jpg/image_00001.jpg as image_00001.jpg, others nowhere."""
    path = PurePosixPath(member)
    return path.name if path.parent.name == "jpg" and _IMAGE.fullmatch(path.name) else None


def _problems(numbers: Mapping[str, Sequence[int]], images: Mapping[int, Path], root: Path) -> list[Problem]:
    again = "download it again, or use files of the same release"
    labels = numbers["labels"]
    problems = []
    if len(labels) != len(images):
        what = f"{len(labels)} labels for {len(images)} images"
        problems.append(Problem(what, str(root / "imagelabels.mat"), again))
    for key in _SUBSETS:
        beyond = sorted(number for number in numbers[key] if number > len(labels) or number not in images)
        if beyond:
            what = f"{key} names image {beyond[0]}, which is not there ({len(beyond)} such)"
            problems.append(Problem(what, str(root / "setid.mat"), again))
    twice = sum(len(numbers[key]) for key in _SUBSETS) - len({number for key in _SUBSETS for number in numbers[key]})
    if twice:
        problems.append(Problem(f"names {twice} images twice", str(root / "setid.mat"), again))
    return problems
