"""ImageNet: class folders named by WordNet ids, in train/ and val/ or alone."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from toolkit.data.class_names import read_class_names
from toolkit.data.formats.scan import IgnoredFile, ImageFile, Scan, class_problems, list_files, subfolders
from toolkit.errors import Problem
from toolkit.experiment.schema import DataConfig
from toolkit.progress import Progress
from toolkit.workspace import Workspace

_WNID = re.compile(r"n\d{8}")


def read_imagenet(table: DataConfig, root: Path, workspace: Workspace, progress: Progress) -> Scan:
    """Folders named by WordNet ids: train/ID and val/ID (which is the test subset where there is no test/), or just ID.

    data.class_names may name a file of ids and words; classes stand in the order of their ids.

    Raises:
        DataError: data.class_names cannot be read or lacks a class.
    """
    del workspace, progress
    subsets: dict[str | None, Path] = {subset: root / name for subset, name in _subset_folders(root).items()}
    images: list[ImageFile] = []
    ignored: list[IgnoredFile] = []
    for subset, folder in (subsets or {None: root}).items():
        for class_folder in subfolders(folder) if folder.is_dir() else []:
            paths, others = list_files(class_folder, recursive=False)
            images += [ImageFile(path, class_folder.name, subset) for path in paths]
            ignored += others
    problems = list(class_problems(root, images))
    ids = sorted({image.label for image in images})
    problems += [
        Problem(f'"{label}" is not a WordNet ID such as n01440764', str(root), "move it out, or use folders")
        for label in ids
        if not _WNID.fullmatch(label)
    ]
    names = read_class_names(table.class_names, ids)
    renamed = tuple(replace(image, label=names[image.label]) for image in images)
    return Scan(root, renamed, tuple(ignored), tuple(problems), tuple(names[label] for label in ids))


def _subset_folders(root: Path) -> dict[str, str]:
    """The folder of each subset; none without train/. Its test images have no labels, so val/ is what tests."""
    if not (root / "train").is_dir():
        return {}
    held = [name for name in ("val", "validation") if (root / name).is_dir()]
    tested = (root / "test").is_dir() and any(_WNID.fullmatch(path.name) for path in (root / "test").iterdir())
    subsets = {"train": "train"}
    if tested:
        subsets["test"] = "test"
    return subsets | {"validation" if tested else "test": name for name in held[:1]}
