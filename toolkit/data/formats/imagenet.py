"""Folders as Caltech and ImageNet give them out: classes in folders, with ways of their own."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path, PurePosixPath

from toolkit import hashing
from toolkit.data.archives import iter_files
from toolkit.data.class_names import read_class_names
from toolkit.data.formats.folders import IMAGE_SUFFIXES, ImageFile, Scan, class_problems, scan_folder
from toolkit.data.materialize import STAMP, make_folder, unpacked_folder
from toolkit.errors import DataError, Problem
from toolkit.experiment.schema import DataConfig
from toolkit.progress import Progress
from toolkit.workspace import Workspace

_CALTECH = ("101_ObjectCategories", "256_ObjectCategories")
_CLUTTER = {"BACKGROUND_Google", "clutter"}
_NUMBERED = re.compile(r"^\d{3}\.")
_WNID = re.compile(r"n\d{8}")


def read_caltech(table: DataConfig, root: Path, workspace: Workspace, progress: Progress) -> Scan:
    """Caltech-101 or -256, not divided: its folder, the folder round that, or the tar archive.

    "001.ak47" becomes the class "ak47". BACKGROUND_Google and 257.clutter are no class unless data.clutter asks for it.

    Raises:
        DataError: no such file, or an archive that cannot be used.
    """
    if root.is_file():
        root = _unpacked(root, workspace, progress)
    inside = next((root / name for name in _CALTECH if (root / name).is_dir()), root)
    scanned = scan_folder(inside)
    found = tuple(replace(one, label=_NUMBERED.sub("", one.label)) for one in scanned.found)
    kept = found if table.clutter else tuple(one for one in found if one.label not in _CLUTTER)
    return replace(scanned, found=kept)


def read_imagenet(table: DataConfig, root: Path, workspace: Workspace, progress: Progress) -> Scan:
    """Folders named by WordNet ids: train/ID and val/ID (which is the test part where there is no test/), or just ID.

    data.class_names may name a file of ids and words; classes stand in the order of their ids.

    Raises:
        DataError: data.class_names cannot be read or lacks a class.
    """
    del workspace, progress
    parts = {part: root / name for part, name in _imagenet_parts(root).items()}
    found = tuple(one for part, folder in parts.items() for one in _in_classes(folder, part))
    if not parts:
        found = tuple(_in_classes(root, None))
    problems = list(class_problems(root, found))
    ids = sorted({one.label for one in found})
    problems += [
        Problem(f'"{label}" is no WordNet id such as n01440764', str(root), "move it out, or use folders")
        for label in ids
        if not _WNID.fullmatch(label)
    ]
    names = read_class_names(table.class_names, ids)
    renamed = tuple(replace(one, label=names[one.label]) for one in found)
    return Scan(root, renamed, (), tuple(problems), tuple(names[label] for label in ids))


def _imagenet_parts(root: Path) -> dict[str, str]:
    """The folder of each part; none without train/. Its test images have no labels, so val/ is what tests."""
    if not (root / "train").is_dir():
        return {}
    held = [name for name in ("val", "validation") if (root / name).is_dir()]
    tested = (root / "test").is_dir() and any(_WNID.fullmatch(path.name) for path in (root / "test").iterdir())
    parts = {"train": "train"}
    if tested:
        parts["test"] = "test"
    return parts | {"validation" if tested else "test": name for name in held[:1]}


def _in_classes(folder: Path, part: str | None) -> list[ImageFile]:
    if not folder.is_dir():
        return []
    return [
        ImageFile(path, label.name, part)
        for label in sorted(folder.iterdir())
        if label.is_dir() and not label.name.startswith(".")
        for path in sorted(label.iterdir())
        if path.suffix.lower() in IMAGE_SUFFIXES
    ]


def _unpacked(archive: Path, workspace: Workspace, progress: Progress) -> Path:
    """The images of an archive, as CLASS/image."""
    source = {"archive": hashing.sha256_file(archive)}
    folder = unpacked_folder("caltech", source, workspace)

    def fill(beside: Path) -> None:
        for path, content in iter_files(archive, _is_image):
            (beside / path.parent.name).mkdir(exist_ok=True)
            (beside / path.parent.name / path.name).write_bytes(content)
        if not any(beside.iterdir()):
            remedy = "give 101_ObjectCategories.tar.gz or 256_ObjectCategories.tar"
            raise DataError("holds no CLASS/image", where=str(archive), remedy=remedy)

    if make_folder(folder, source, fill):
        progress.log(f"unpacked {archive.name}")
    return folder


def _is_image(path: PurePosixPath) -> bool:
    named = path.name != STAMP and not path.name.startswith(".") and len(path.parts) >= 2
    return named and path.suffix.lower() in IMAGE_SUFFIXES
