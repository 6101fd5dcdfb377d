"""Folders of images: class folders, or subsets with class folders in each.

FOLDER/CLASS/…image                    to be split
FOLDER/train/CLASS/…image              predefined subsets, with any common name: Training/, val/, test_set/, seg_train/
FOLDER/NAME/…                          a folder that contains only one of these is skipped
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from toolkit.data.formats.scan import (
    BESIDE_CLASSES,
    IgnoredFile,
    ImageFile,
    Scan,
    class_label,
    class_problems,
    list_files,
    subfolders,
)
from toolkit.data.split_manifest import SUBSETS
from toolkit.errors import Problem
from toolkit.experiment.load import binary_file

SUBSET_NAMES: Mapping[str, str] = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("validation", "validate", "validating", "val", "valid", "dev", "development"), "validation"),
    **dict.fromkeys(("test", "testing", "tst", "holdout"), "test"),
}
"""The usual names of subsets, in lower case."""
_ADDITIONS = {"set", "data", "dataset", "images", "imgs", "split", "folder", "samples", "sets"}
_WORD = re.compile(r"[a-z]+|\d+")
_DEPTH = 3
_CLASS_FOLDERS = "use a folder with one folder per class"

Subsets = Sequence[tuple[Path, str]]


def scan_folder(root: Path) -> Scan:
    """List the images below `root` with their classes and subsets; reads none of them, and collects problems."""
    if not root.is_dir():
        missing = Problem("is not a folder" if root.exists() else "no such folder", str(root), _CLASS_FOLDERS)
        return Scan(root, problems=(binary_file(root) or missing,))
    ignored: list[IgnoredFile] = []
    top, root = root, _innermost(root, ignored)
    subsets = subset_folders(root)
    scans = [_scan_classes(folder, subset) for folder, subset in subsets] if subsets else [_scan_classes(root, None)]
    ignored += [file for scan in scans for file in scan.ignored]
    if subsets:
        ignored += _stray_files(root)
    images = tuple(image for scan in scans for image in scan.images)
    problems = [problem for scan in scans for problem in scan.problems]
    problems += _subset_problems(root, subsets) if subsets else []
    problems += class_problems(root, images) if images or not problems else []
    problems += _misplaced(root, images)
    return Scan(top, images, tuple(ignored), tuple(problems))


def _misplaced(root: Path, images: Sequence[ImageFile]) -> list[Problem]:
    """Where the classes may be instead: in the only folder that has images, or in a list beside them."""
    if not images:
        lists = sorted(path for path in root.iterdir() if path.suffix.lower() == ".csv")
        remedy = "name the list instead of the folder; it needs the columns path and label"
        return [Problem("may be the list of these images", str(path), remedy) for path in lists[:1]]
    labels = {image.label for image in images}
    folder = next((path for path in subfolders(root) if {class_label(path)} == labels), None)
    inner = len(subfolders(folder)) if folder else 0
    if inner < 2:
        return []
    what = f"holds all images, in {inner} folders"
    return [Problem(what, str(folder), "if those are the classes or subsets, name this folder instead")]


def subset_of(name: str) -> str | None:
    """The subset that a folder's name stands for: "Training" and "test_set" do, "trainer" does not."""
    parts = _split_name(name)
    return next((SUBSET_NAMES[word] for word in parts if word in SUBSET_NAMES), None) if _plain(parts) else None


def subset_folders(root: Path) -> list[tuple[Path, str]]:
    """The folders of `root` that are subsets, with their subsets; empty where such names may be those of classes."""
    folders = subfolders(root)
    subsets = [(folder, subset) for folder in folders if (subset := subset_of(folder.name))]
    if len({subset for _, subset in subsets}) < 2:
        common = _with_common_word(folders)
        subsets = common if len({subset for _, subset in common}) > 1 else subsets
    if not any(subset == "train" for _, subset in subsets):
        divided = len(subsets) == len(folders) > 1 and all(subfolders(folder) for folder in folders)
        return subsets if divided else []
    if len(subsets) < len(folders) and not any(subfolders(folder) for folder, _ in subsets):
        return []  # a class that happens to be called "train"
    return subsets


def _split_name(name: str) -> list[str]:
    """The words of a folder's name, in lower case; "trainset" is two."""
    return [part for word in _WORD.findall(name.lower()) for part in _split_word(word)]


def _split_word(word: str) -> tuple[str, ...]:
    starts = (word.removesuffix(addition) for addition in _ADDITIONS if word.endswith(addition))
    return next(((start, word.removeprefix(start)) for start in starts if start in SUBSET_NAMES), (word,))


def _plain(parts: Sequence[str]) -> bool:
    """Whether nothing but a subset is named."""
    names = [word for word in parts if word in SUBSET_NAMES]
    return len(names) == 1 and all(word in SUBSET_NAMES or word in _ADDITIONS or word.isdigit() for word in parts)


def _with_common_word(folders: Sequence[Path]) -> list[tuple[Path, str]]:
    """Folders such as seg_train and seg_test: the same words, apart from the subset."""
    by_rest: dict[tuple[str, ...], list[tuple[Path, str]]] = {}
    for folder in folders:
        parts = _split_name(folder.name)
        names = [word for word in parts if word in SUBSET_NAMES]
        if len(names) == 1:
            rest = tuple(word for word in parts if word not in SUBSET_NAMES)
            by_rest.setdefault(rest, []).append((folder, SUBSET_NAMES[names[0]]))
    return max(by_rest.values(), key=len, default=[])


def _innermost(root: Path, ignored: list[IgnoredFile], subset: str | None = None) -> Path:
    """The folder that holds the subsets or classes, below folders that hold nothing but one folder.

    Inside a subset only a folder that is called like a subset is looked through: another one is a class.
    """
    for _ in range(_DEPTH):
        inner, (images, others) = subfolders(root), list_files(root, recursive=False)
        if len(inner) != 1 or images or not subfolders(inner[0]):
            break
        if subset and not (inner[0].name == root.name or subset_of(inner[0].name) == subset):
            break
        ignored += others
        root = inner[0]
    return root


def _scan_classes(folder: Path, subset: str | None) -> Scan:
    """The class folders of one subset, or of an undivided data set."""
    ignored: list[IgnoredFile] = []
    root = _innermost(folder, ignored, subset) if subset else folder
    loose, others = list_files(root, recursive=False)
    ignored += [*others, *(IgnoredFile(path, BESIDE_CLASSES) for path in loose)]
    classes = subfolders(root)
    if subset and not classes:
        return Scan(root, (), (), (_no_classes(folder, len(loose)),))
    images: list[ImageFile] = []
    problems = _name_problems(classes) + ([] if subset else _subsets_inside(root, classes))
    for class_folder in classes:
        paths, others = list_files(class_folder)
        images += [ImageFile(path, class_label(class_folder), subset) for path in paths]
        ignored += others
        if not paths:
            problems.append(Problem("empty class folder", str(class_folder), "put images into it, or remove it"))
    return Scan(root, tuple(images), tuple(ignored), tuple(problems))


def _subsets_inside(root: Path, classes: Sequence[Path]) -> list[Problem]:
    """The problem of class folders that are divided each by itself: CLASS/train, CLASS/test."""
    names = [{subset_of(folder.name) for folder in subfolders(each)} for each in classes]
    if not names or any(None in each or "train" not in each or len(each) < 2 for each in names):
        return []
    example = classes[0].name
    what = f"has its subsets inside the class folders: {example}/{subfolders(classes[0])[0].name}"
    return [Problem(what, str(root), f"swap the levels: train/{example}, test/{example}")]


def _no_classes(folder: Path, images: int) -> Problem:
    what = f"{folder.name}/ has no class folders; its {images} images have no labels" if images else "an empty subset"
    return Problem(what, str(folder), "sort its images into class folders, or move it out of the data set")


def _name_problems(folders: Sequence[Path]) -> list[Problem]:
    """Folders whose names look alike and would become one class."""
    names: dict[str, list[Path]] = {}
    for folder in folders:
        names.setdefault(class_label(folder), []).append(folder)
    remedy = "merge the folders, or give them different names"
    return [
        Problem(f"{' and '.join(repr(path.name) for path in same)} {_difference(same)}", str(same[0].parent), remedy)
        for same in names.values()
        if len(same) > 1
    ]


def _difference(same: Sequence[Path]) -> str:
    spaces = len({path.name.strip() for path in same}) == 1
    how = (
        "by a leading or trailing space" if spaces else "in how an accented letter is encoded (composed or decomposed)"
    )
    return f"look like one class; they differ only {how}"


def _subset_problems(root: Path, subsets: Subsets) -> list[Problem]:
    """What is wrong with the subsets of `root`; a missing validation subset is made from the training images later."""
    times = Counter(subset for _, subset in subsets)
    remedy = "add it, or put all images into class folders without subsets, and the toolkit splits them"
    problems = [Problem(f"no folder for {name}", str(root), remedy) for name in ("train", "test") if not times[name]]
    for subset in SUBSETS:
        if times[subset] > 1:
            names = " and ".join(sorted(folder.name for folder, of in subsets if of == subset))
            problems.append(Problem(f"{names} mean the same: {subset}", str(root), "merge them, or rename one"))
    known = {folder for folder, _ in subsets}
    remedy = "move it into a subset, or out of the data set; if a class is called like a subset, rename the class"
    return problems + [
        Problem("is beside the subsets but is not one of them", str(folder), remedy)
        for folder in subfolders(root)
        if folder not in known
    ]


def _stray_files(root: Path) -> list[IgnoredFile]:
    """The files beside the folders of the subsets."""
    images, others = list_files(root, recursive=False)
    return [*others, *(IgnoredFile(path, BESIDE_CLASSES) for path in images)]
