"""A CSV file of images: the columns path and label, and subset if the data set is already split.

path,label,subset
cats/tom.jpg,cat,train                 relative to the file; subsets are train, validation (val, valid) and test

With data.separator = ";", an image may have several labels, or none: both.jpg,cat;dog,train and street.jpg,,train
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from toolkit.data.formats.folders import SUBSET_NAMES
from toolkit.data.formats.scan import ImageFile, Scan, class_problems, multilabel_file
from toolkit.errors import Problem
from toolkit.experiment.schema import DataConfig
from toolkit.progress import Progress
from toolkit.workspace import Workspace


def read_csv_list(table: DataConfig, path: Path, workspace: Workspace, progress: Progress) -> Scan:
    """The images that the CSV file at `path` names; every bad line is a problem of its own."""
    del workspace, progress
    root = path.parent
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, strict=True)
            columns, rows = list(reader.fieldnames or ()), list(reader)
    except FileNotFoundError:
        remedy = "write a line path,label and then one for each image"
        return Scan(root, problems=(Problem("no such file", str(path), remedy),))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        return Scan(root, problems=(Problem(f"not a CSV file: {error}", str(path), "write it as UTF-8"),))
    problems = _column_problems(columns, path)
    if problems:
        return Scan(root, problems=tuple(problems))
    images, problems = _images(rows, path, table.separator)
    return Scan(root, tuple(images), problems=(*problems, *(class_problems(path, images) if not problems else ())))


def _column_problems(columns: Sequence[str], path: Path) -> list[Problem]:
    remedy = "make the first line path,label or path,label,subset"
    lacking = [name for name in ("path", "label") if name not in columns]
    strange = [name for name in columns if name not in {"path", "label", "subset"}]
    return [Problem(f'has no column "{name}"', str(path), remedy) for name in lacking] + [
        Problem(f'"{name}" is not a known column', str(path), remedy) for name in strange
    ]


def _images(
    rows: Sequence[dict[str, str | None]], path: Path, separator: str | None
) -> tuple[list[ImageFile], list[Problem]]:
    images: list[ImageFile] = []
    problems: list[Problem] = []
    seen: dict[Path, int] = {}
    divided = any((row.get("subset") or "").strip() for row in rows)
    for number, row in enumerate(rows, start=2):
        image = path.parent / (row.get("path") or "").strip()
        what = _row_problem(row, image, divided=divided, multi_label=separator is not None)
        if not what and image in seen:
            what = f"the same image as in line {seen[image]}"
        if what:
            problems.append(Problem(what, f"{path}: line {number}", "fix the line, or remove it"))
            continue
        seen[image] = number
        subset = SUBSET_NAMES.get((row.get("subset") or "").strip().lower())
        images.append(_image_file(image, (row["label"] or "").strip(), separator, subset))
    return images, problems


def _image_file(image: Path, label: str, separator: str | None, subset: str | None) -> ImageFile:
    if separator is None:
        return ImageFile(image, label, subset)
    labels = (one.strip() for one in label.split(separator))
    return multilabel_file(image, filter(None, labels), (), subset)


def _row_problem(row: dict[str, str | None], image: Path, *, divided: bool, multi_label: bool) -> str:
    """What is wrong with a line; nothing if all is well."""
    if None in row or None in row.values():
        return "has more or fewer fields than the first line"
    if not multi_label and not (row["label"] or "").strip():
        return "has no label"
    subset = (row.get("subset") or "").strip()
    if divided and subset.lower() not in SUBSET_NAMES:
        return f'"{subset}" is not a subset: use train, validation or test'
    return "" if image.is_file() else f"no such image: {image}"
