"""PASCAL VOC's images with their objects: VOCdevkit/VOC2007 and similar, as folders or as the published archives.

    JPEGImages/000012.jpg
    Annotations/000012.xml             every object with its name and whether it is difficult
    ImageSets/Main/train.txt           the subsets, by image; val.txt, test.txt
    ImageSets/Main/car_train.txt       "000012  1": there is one; -1: none; 0: only such as are difficult to see

An image with only difficult objects of a class is not judged for it, as in VOC's own evaluation. Where a subset has no
class files its annotations say the same; without ImageSets/ all annotated images are taken, not divided.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree as ET
from xml.parsers import expat

from toolkit import hashing
from toolkit.data.formats.scan import ImageFile, Scan, class_problems, multilabel_file
from toolkit.data.materialize import extract, make_folder, unpacked_folder
from toolkit.errors import DataError, Problem
from toolkit.experiment.schema import DataConfig
from toolkit.progress import Progress
from toolkit.system.sandbox import ResourceLimits, Sandbox
from toolkit.workspace import Workspace

_CLASS_FILE = re.compile(r"(.+)_(?:train|val|trainval|test)\.txt")
_NAME = re.compile(r"[\w-]+")
_FOLDERS = ("JPEGImages", "Annotations", "ImageSets")
_AGAIN = "download it again, or use files of the same release"
_XML_MAX_BYTES = 1 << 20  # bytes of one annotation; VOC's largest has 30 kB

Truth = Mapping[str, Mapping[str, int]]
"""By image and class: 1 there, 0 difficult, -1 not there (or not named)."""


@dataclass(frozen=True, slots=True)
class _Year:
    """One VOC20xx folder."""

    root: Path

    @property
    def sets(self) -> Path:
        return self.root / "ImageSets" / "Main"

    def image(self, name: str) -> Path:
        return self.root / "JPEGImages" / f"{name}.jpg"

    def annotation(self, name: str) -> Path:
        return self.root / "Annotations" / f"{name}.xml"


def read_voc(table: DataConfig, root: Path, workspace: Workspace, progress: Progress) -> Scan:
    """The images of one year: a VOC20xx folder, what it lies in, a .tar of it, or a folder of such archives.

    Parts are VOC's own. Where test.txt has no labels beside it (from 2008 on), val is the test subset and the toolkit takes
    its own validation images from train.

    Raises:
        DataError: no such data, several years and none chosen, or with everything in it that is at odds.
    """
    year = _Year(_choose(_unpacked(root, workspace, progress), table.year, root))
    subsets = _load_confined(year.root)
    classes = sorted({label for _, truth in subsets for labels in truth.values() for label in labels})
    problems = [problem for _, truth in subsets for problem in _problems(year, truth)]
    if problems:
        raise DataError.from_problems(problems)
    images = tuple(
        _image_file(year.image(name), labels, None if subset == "all" else subset)
        for subset, truth in subsets
        for name, labels in truth.items()
    )
    return Scan(year.root, images, problems=tuple(class_problems(year.root, images)), order=tuple(classes))


def _load_confined(root: Path) -> list[tuple[str, Truth]]:
    with Sandbox([root], limits=ResourceLimits(memory_bytes=4 << 30)) as worker:
        return [(subset, truth) for subset, truth in worker.call("toolkit.data.formats.voc:load", root=root)]


def load(root: str) -> list[tuple[str, Truth]]:
    """The images of each subset with their labels, or of the subset "all"; run in a confined worker.

    Raises:
        DataError: a file of it is damaged, or subsets are missing.
    """
    year = _Year(Path(root))
    return [(subset, _truth(year, name, names)) for subset, (name, names) in _subsets(year).items()]


def _choose(root: Path, year: int | None, requested: Path) -> Path:
    """The folder of the year that is meant."""
    if not root.is_dir():
        raise DataError("no such file or folder", where=str(requested), remedy="put VOC's archives or VOCdevkit there")
    years = sorted({path.parent for path in root.rglob("JPEGImages") if path.is_dir()})
    chosen = [path for path in years if year is None or path.name == f"VOC{year}"]
    if len(chosen) == 1:
        return chosen[0]
    names = ", ".join(path.name for path in years)
    if not chosen:
        what = f"holds no VOC{year}; it has {names}" if names else "holds no JPEGImages/"
        raise DataError(what, where=str(requested), remedy="give VOCdevkit/VOC20xx, or its .tar, as published by VOC")
    raise DataError(f"contains several years: {names}", where=str(requested), remedy="choose one with data.year")


def _unpacked(root: Path, workspace: Workspace, progress: Progress) -> Path:
    """A folder that holds a year: `root` itself, or what its archives unpack to."""
    archives = [root] if root.is_file() else sorted(root.glob("*.tar")) if root.is_dir() else []
    if not archives or (root.is_dir() and next(root.rglob("JPEGImages"), None) is not None):
        return root
    source = {"archives": [hashing.sha256_file(path) for path in archives]}
    folder = unpacked_folder("voc", source, workspace)

    def fill(folder: Path) -> None:
        extract(archives, folder, "toolkit.data.formats.voc:extracted_name")

    if make_folder(folder, source, fill):
        progress.log(f"unpacked {', '.join(path.name for path in archives)}")
    return folder


def extracted_name(member: str) -> str | None:
    """Where a member of the archive goes: VOC20xx/JPEGImages/… and the like, others nowhere."""
    path = PurePosixPath(member)
    folder = next((folder for folder in path.parts if folder in _FOLDERS), None)
    main = folder != "ImageSets" or path.parts[-2:-1] == ("Main",)
    if folder is None or not main or path.suffix not in {".jpg", ".xml", ".txt"} or _depth(path) < 0:
        return None
    return "/".join(path.parts[_depth(path) :])


def _depth(path: PurePosixPath) -> int:
    """How many folders lie above that of the year."""
    return next((place - 1 for place, name in enumerate(path.parts) if name in _FOLDERS), -1)


def _subsets(year: _Year) -> dict[str, tuple[str, Sequence[str]]]:
    """By our subset: VOC's name of it and its images; "all" where it is not divided."""
    names = {name: _names(year.sets / f"{name}.txt") for name in ("train", "val", "test")}
    tested = bool(names["test"]) and (any(year.sets.glob("*_test.txt")) or year.annotation(names["test"][0]).is_file())
    if names["train"] and tested:
        return {subset: (name, names[name]) for subset, name in _OFFICIAL_SUBSETS.items() if names[name]}
    if names["train"] and names["val"]:
        return {"train": ("train", names["train"]), "test": ("val", names["val"])}
    annotated = sorted(path.stem for path in (year.root / "Annotations").glob("*.xml"))
    if names["train"] or not annotated:
        what = "holds neither train.txt with val.txt or test.txt, nor images with annotations alone"
        raise DataError(what, where=str(year.sets), remedy=_AGAIN)
    return {"all": ("", annotated)}


_OFFICIAL_SUBSETS = {"train": "train", "validation": "val", "test": "test"}


def _names(path: Path) -> Sequence[str]:
    """The images that a subset's file names; none if there is no such file."""
    if not path.is_file():
        return ()
    names = tuple(fields[0] for fields in _lines(path))
    strange = next((name for name in names if not _NAME.fullmatch(name)), None)
    if strange is not None:
        raise DataError(f"not the name of an image: {strange!r}", where=str(path), remedy=_AGAIN)
    return names


def _lines(path: Path) -> list[list[str]]:
    """The fields of every line that has any."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return [fields for line in lines if (fields := line.split())]


def _truth(year: _Year, subset: str, names: Sequence[str]) -> Truth:
    """What the class files of a subset say, or the annotations of its images."""
    files = sorted(year.sets.glob(f"*_{subset}.txt")) if subset else []
    if not files:
        return {name: _annotated(year.annotation(name)) for name in names}
    truth: dict[str, dict[str, int]] = {name: {} for name in names}
    for path in files:
        label = _label_of(path)
        for name, value in _values(path):
            if name in truth:
                truth[name][label] = value
    return truth


def _label_of(path: Path) -> str:
    match = _CLASS_FILE.fullmatch(path.name)
    return match[1] if match else path.stem


def _values(path: Path) -> Iterator[tuple[str, int]]:
    for fields in _lines(path):
        if len(fields) != 2 or fields[1] not in {"-1", "0", "1"}:
            raise DataError(f"not an image and -1, 0 or 1: {' '.join(fields)!r}", where=str(path), remedy=_AGAIN)
        yield fields[0], int(fields[1])


def _annotated(path: Path) -> Mapping[str, int]:
    """The classes of an annotation's objects: 1, or 0 where all of a class are difficult; nothing if it is missing."""
    if not path.is_file():
        return {}
    if path.stat().st_size > _XML_MAX_BYTES:
        raise DataError("is too large for a VOC annotation", where=str(path), remedy="do not use it")
    content = path.read_bytes()
    try:
        _refuse_doctype(content)
        objects = ET.fromstring(content).findall("object")  # noqa: S314 - without entities it cannot expand
    except (ET.ParseError, expat.ExpatError, ValueError, LookupError) as error:
        raise DataError(f"is not a valid VOC annotation: {error}", where=str(path), remedy=_AGAIN) from None
    names: dict[str, int] = {}
    for one in objects:
        label, difficult = (one.findtext("name") or "").strip(), (one.findtext("difficult") or "0").strip() == "1"
        names[label] = max(names.get(label, 0), 0 if difficult else 1)
    return {label: value for label, value in names.items() if label}


def _refuse_doctype(content: bytes) -> None:
    """Raise ValueError for a document type, which alone can define entities, in whatever encoding."""

    def refuse(*_: object) -> None:
        raise ValueError("it has a document type, which could define entities")

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    parser.Parse(content, True)


def _problems(year: _Year, truth: Truth) -> Iterator[Problem]:
    """Images that are named and not there, or of which nothing is said."""
    for what, lacking in (
        ("image", [name for name in truth if not year.image(name).is_file()]),
        ("label", [name for name in truth if not truth[name] and not year.annotation(name).is_file()]),
    ):
        if lacking:
            more = f" ({len(lacking)} such)" if len(lacking) > 1 else ""
            yield Problem(f"no {what}{more}", str(year.image(lacking[0])), _AGAIN)


def _image_file(image: Path, names: Mapping[str, int], subset: str | None) -> ImageFile:
    there = [label for label, value in names.items() if value == 1]
    return multilabel_file(image, there, [label for label, value in names.items() if value == 0], subset)
