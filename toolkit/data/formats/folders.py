"""What lies in a folder of images: class folders, or train, validation and test with class folders in each.

FOLDER/CLASS/…image                    not yet divided
FOLDER/train/CLASS/…image              divided by whoever made it; val and valid mean validation
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit.data.split_manifest import PARTS
from toolkit.errors import Problem

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".png", ".pgm", ".ppm", ".pnm", ".bmp", ".webp", ".tif", ".tiff"})
PART_NAMES = {part: part for part in PARTS} | {"val": "validation", "valid": "validation"}
"""How people spell the parts, in lower case."""


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image file where it was found; `part` is None when the folder is not divided yet."""

    path: Path
    label: str
    """Of a set with many labels to an image: all of them in one word, see `with_labels`."""
    part: str | None
    labels: tuple[str, ...] | None = None
    """What is on it, in a set with many labels to an image; None where each has one."""
    unsure: tuple[str, ...] = ()
    """What it is not judged for: labels that the data set itself leaves open."""

    @property
    def names(self) -> tuple[str, ...]:
        """Its label, or all of them."""
        return (self.label,) if self.labels is None else self.labels


def multilabel_file(path: Path, labels: Iterable[str], unsure: Iterable[str], part: str | None) -> ImageFile:
    """An image of a set with many labels; "cat;dog" and "cat;dog;?sofa" are what its label and its copies' must equal."""
    held, open_ = tuple(sorted(set(labels))), tuple(sorted(set(unsure)))
    return ImageFile(path, ";".join([*held, *(f"?{name}" for name in open_)]), part, held, open_)


@dataclass(frozen=True, slots=True)
class Scan:
    """What a folder holds, and what is wrong with it as it stands; `ignored` are files that are no images by name."""

    root: Path
    found: tuple[ImageFile, ...]
    ignored: tuple[Path, ...]
    problems: tuple[Problem, ...]
    order: tuple[str, ...] = ()
    """The classes in the order that the data set gives them; empty where it gives none."""

    @property
    def divided(self) -> bool:
        """Whether it comes with its own parts."""
        return any(image.part for image in self.found)

    @property
    def many(self) -> bool:
        """Whether an image may have several labels, or none."""
        return any(image.labels is not None for image in self.found)

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes, in the data set's order or sorted by name."""
        return self.order or tuple(sorted({name for image in self.found for name in image.names}))


def scan_folder(root: Path) -> Scan:
    """Look into `root`; reads no image and raises nothing: problems are collected."""
    if not root.is_dir():
        remedy = "give a folder that holds one folder per class"
        return Scan(root, (), (), (Problem("no such folder", str(root), remedy),))
    parts = _part_folders(root)
    found: list[ImageFile] = []
    ignored: list[Path] = []
    problems: list[Problem] = _part_problems(root, parts) if parts else []
    whole: list[tuple[Path, str | None]] = [(root, None)]
    for folder, part in parts or whole:
        for class_folder in _folders(folder):
            files = list(_files(class_folder))
            images = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
            found += [ImageFile(path, class_folder.name, part) for path in images]
            ignored += [path for path in files if path.suffix.lower() not in IMAGE_SUFFIXES]
            problems += [] if images else [_empty(class_folder)]
    problems += class_problems(root, found)
    return Scan(root, tuple(found), tuple(ignored), tuple(problems))


def _part_folders(root: Path) -> list[tuple[Path, str]]:
    """The folders of `root` that are parts by name; none unless there is one to train on."""
    parts = [
        (folder, PART_NAMES[folder.name.lower()]) for folder in _folders(root) if folder.name.lower() in PART_NAMES
    ]
    return parts if any(part == "train" for _, part in parts) else []


def _part_problems(root: Path, parts: Sequence[tuple[Path, str]]) -> list[Problem]:
    times = Counter(part for _, part in parts)
    remedy = "add it, or put all images into class folders without parts and let the toolkit divide them"
    problems = [Problem(f"no folder for {part}", str(root), remedy) for part in PARTS if not times[part]]
    if times["validation"] > 1:
        problems.append(Problem("val, valid and validation mean the same", str(root), "keep one of them"))
    known = {folder for folder, _ in parts}
    strangers = [folder for folder in _folders(root) if folder not in known]
    remedy = "move it into a part, or out of the data set"
    return problems + [
        Problem("lies beside the parts and is none of them", str(folder), remedy) for folder in strangers
    ]


def class_problems(root: Path, found: Sequence[ImageFile]) -> list[Problem]:
    """What is wrong with the classes: no images, one class, a class that a part lacks."""
    labels = {name for image in found for name in image.names}
    if not found:
        return [Problem("no images", str(root), "put images into one folder per class: FOLDER/CLASS/image.jpg")]
    if len(labels) < 2:
        only = f'only one class, "{min(labels)}"'
        return [Problem(only, str(root), "there must be two or more class folders with images")]
    held = {(image.part, name) for image in found for name in image.names}
    parts = {image.part for image in found}
    lacking = [(p, c) for p in PARTS if p in parts for c in sorted(labels) if (p, c) not in held]
    remedy = "move some of its images there, or put all into class folders without parts"
    return [Problem(f'class "{c}" has no images in {p}', str(root), remedy) for p, c in lacking]


def _empty(folder: Path) -> Problem:
    return Problem("empty class folder", str(folder), "put images into it, or remove it")


def _folders(root: Path) -> list[Path]:
    hidden = (".", "__MACOSX")
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith(hidden))


def _files(folder: Path) -> Iterator[Path]:
    """Every visible file below `folder`, sorted."""
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder).parts
        if path.is_file() and not any(part.startswith(".") for part in inside):
            yield path
