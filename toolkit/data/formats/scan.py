"""Find the images of a data set, and account for every other file: whether it is ignored, and why."""

from __future__ import annotations

import os
import stat
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit.data.split_manifest import SUBSETS
from toolkit.device.image_header import IMAGE_SUFFIXES, starts_as_image
from toolkit.errors import Problem
from toolkit.workspace import Workspace

_UNREADABLE = {
    *(".heic", ".heif", ".avif", ".jxl", ".jp2", ".ico", ".tga", ".exr", ".hdr"),
    *(".raw", ".cr2", ".nef", ".arw", ".dng", ".svg", ".psd", ".eps", ".pdf"),
}
_HIDDEN = (".", "__MACOSX")
_SYSTEM_FILES = frozenset({"thumbs.db", "desktop.ini", "icon\r"})

NOT_AN_IMAGE = "not an image"
UNREADABLE = "an image format that cannot be read: convert it to JPEG or PNG"
HIDDEN = "hidden or made by the operating system"
BESIDE_CLASSES = "an image beside the class folders, without a class"
SPECIAL = "not a regular file"
BROKEN_LINK = "a link that leads nowhere"
CIRCULAR_LINK = "a link to a folder that it lies in"
WORKSPACE = "a workspace of the toolkit"


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image file of a data set; `subset` is None when the data set is not divided yet."""

    path: Path
    label: str
    """Of a multi-label set: all labels in one text, see `multilabel_file`."""
    subset: str | None
    labels: tuple[str, ...] | None = None
    """The labels in a multi-label set; None where each image has one."""
    unsure: tuple[str, ...] = ()
    """The labels that the data set itself leaves open."""

    @property
    def names(self) -> tuple[str, ...]:
        """Its label, or all of them."""
        return (self.label,) if self.labels is None else self.labels


@dataclass(frozen=True, slots=True)
class IgnoredFile:
    """A file that is not used."""

    path: Path
    reason: str


def multilabel_file(path: Path, labels: Iterable[str], unsure: Iterable[str], subset: str | None) -> ImageFile:
    """An image of a multi-label set; "cat;dog" and "cat;dog;?sofa" are what its label and its copies' must equal."""
    present, uncertain = tuple(sorted(set(labels))), tuple(sorted(set(unsure)))
    return ImageFile(path, ";".join([*present, *(f"?{name}" for name in uncertain)]), subset, present, uncertain)


@dataclass(frozen=True, slots=True)
class Scan:
    """The files of a data set, and the problems that show without reading an image."""

    root: Path
    images: tuple[ImageFile, ...] = ()
    ignored: tuple[IgnoredFile, ...] = ()
    problems: tuple[Problem, ...] = ()
    order: tuple[str, ...] = ()
    """The classes in the order that the data set gives them; empty where it gives none."""

    @property
    def divided(self) -> bool:
        """Whether it comes with its own subsets."""
        return any(image.subset for image in self.images)

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes, in the data set's order or sorted by name."""
        return self.order or tuple(sorted({name for image in self.images for name in image.names}))


def format_ignored(ignored: Sequence[IgnoredFile], root: Path) -> Iterator[str]:
    """One line per reason, with the number of files and the first of them."""
    for reason, number in sorted(Counter(file.reason for file in ignored).items()):
        first = next(file.path for file in ignored if file.reason == reason)
        name = first.relative_to(root) if first.is_relative_to(root) else first
        example = f"{name}" if number == 1 else f"such as {name}"
        yield f"ignored {number} {'file' if number == 1 else 'files'}: {reason} ({example})"


def is_image(path: Path) -> bool:
    """Whether a file is an image by its name, or by its first bytes."""
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        return True
    try:
        with path.open("rb") as stream:
            start = stream.read(16)
    except OSError:
        return False
    return starts_as_image(start)


def list_files(folder: Path, *, recursive: bool = True) -> tuple[list[Path], list[IgnoredFile]]:
    """The image files below `folder`, sorted, and every other file there; links are followed.

    With `recursive` off, only the files that lie directly in it.
    """
    images: list[Path] = []
    ignored: list[IgnoredFile] = []
    above = tuple(map(_identity, folder.resolve().parents))
    for path, place_reason in _walk(folder, above, recursive=recursive):
        if reason := place_reason or _reason_to_ignore(path):
            ignored.append(IgnoredFile(path, reason))
        else:
            images.append(path)
    return images, ignored


def subfolders(root: Path) -> list[Path]:
    """The visible folders directly in `root`, sorted, without workspaces; links count as what they lead to."""
    folders = (path for path in root.iterdir() if path.is_dir() and not path.name.startswith(_HIDDEN))
    return sorted(folder for folder in folders if not _is_workspace(folder))


def class_label(folder: Path) -> str:
    """The class that a folder stands for: its name, composed (NFC) and without spaces around it."""
    return unicodedata.normalize("NFC", folder.name).strip()


def class_problems(root: Path, images: Sequence[ImageFile]) -> list[Problem]:
    """What is wrong with the classes: no images, one class, names that differ in case, a class that a subset lacks."""
    labels = {name for image in images for name in image.names}
    if not images:
        return [Problem("no images", str(root), "put images into one folder per class: FOLDER/CLASS/image.jpg")]
    if len(labels) < 2:
        only = f'only one class, "{min(labels)}"'
        return [Problem(only, str(root), "there must be two or more class folders with images")]
    problems = _case_problems(root, sorted(labels))
    present = {(image.subset, name) for image in images for name in image.names}
    subsets = {image.subset for image in images}
    lacking = [(p, c) for p in SUBSETS if p in subsets for c in sorted(labels) if (p, c) not in present]
    remedy = "move some of its images there, or put all into class folders without subsets"
    return problems + [Problem(f'class "{c}" has no images in {p}', str(root), remedy) for p, c in lacking]


def _case_problems(root: Path, labels: Sequence[str]) -> list[Problem]:
    spellings: dict[str, list[str]] = {}
    for label in labels:
        spellings.setdefault(label.casefold(), []).append(label)
    return [
        Problem(
            f"the classes {' and '.join(map(repr, same))} differ only in upper and lower case",
            str(root),
            "merge them, or give them different names",
        )
        for same in spellings.values()
        if len(same) > 1
    ]


def _walk(folder: Path, above: tuple[tuple[int, int], ...], *, recursive: bool) -> Iterator[tuple[Path, str]]:
    """Every file below `folder`, with the reason to ignore it if its place or kind gives one."""
    inside = (*above, _identity(folder))
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        path = Path(entry.path)
        try:
            mode = path.stat().st_mode
        except OSError:
            yield path, BROKEN_LINK
            continue
        if not stat.S_ISDIR(mode):
            yield path, "" if stat.S_ISREG(mode) else SPECIAL
        elif entry.name.startswith(_HIDDEN):
            yield from ((hidden, HIDDEN) for hidden in sorted(path.rglob("*")) if hidden.is_file())
        elif _identity(path) in inside:
            yield path, CIRCULAR_LINK
        elif _is_workspace(path):
            yield path, WORKSPACE
        elif recursive:
            yield from _walk(path, inside, recursive=True)


def _is_workspace(folder: Path) -> bool:
    return Workspace(folder).database.is_file()


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _reason_to_ignore(path: Path) -> str:
    if path.name.startswith(".") or path.name.lower() in _SYSTEM_FILES:
        return HIDDEN
    if path.suffix.lower() in _UNREADABLE:
        return UNREADABLE
    return "" if is_image(path) else NOT_AN_IMAGE
