"""A CSV file that names images: the columns path and label, and part where it is divided already.

path,label,part
cats/tom.jpg,cat,train                 relative to the file; parts are train, validation (val, valid) and test

With data.separator = ";" an image may have several labels, or none: both.jpg,cat;dog,train and street.jpg,,train
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from toolkit.data.formats.folders import PART_NAMES
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
    remedy = "make the first line path,label or path,label,part"
    lacking = [name for name in ("path", "label") if name not in columns]
    strange = [name for name in columns if name not in {"path", "label", "part"}]
    return [Problem(f'has no column "{name}"', str(path), remedy) for name in lacking] + [
        Problem(f'"{name}" is no column it can have', str(path), remedy) for name in strange
    ]


def _images(
    rows: Sequence[dict[str, str | None]], path: Path, separator: str | None
) -> tuple[list[ImageFile], list[Problem]]:
    images: list[ImageFile] = []
    problems: list[Problem] = []
    seen: dict[Path, int] = {}
    divided = any((row.get("part") or "").strip() for row in rows)
    for number, row in enumerate(rows, start=2):
        image = path.parent / (row.get("path") or "").strip()
        what = _row_problem(row, image, divided=divided, multi_label=separator is not None)
        if not what and image in seen:
            what = f"the same image as in line {seen[image]}"
        if what:
            problems.append(Problem(what, f"{path}: line {number}", "mend the line, or remove it"))
            continue
        seen[image] = number
        part = PART_NAMES.get((row.get("part") or "").strip().lower())
        images.append(_image_file(image, (row["label"] or "").strip(), separator, part))
    return images, problems


def _image_file(image: Path, label: str, separator: str | None, part: str | None) -> ImageFile:
    if separator is None:
        return ImageFile(image, label, part)
    labels = (one.strip() for one in label.split(separator))
    return multilabel_file(image, filter(None, labels), (), part)


def _row_problem(row: dict[str, str | None], image: Path, *, divided: bool, multi_label: bool) -> str:
    """What is wrong with a line; nothing if all is well."""
    if None in row or None in row.values():
        return "has more or fewer fields than the first line"
    if not multi_label and not (row["label"] or "").strip():
        return "has no label"
    part = (row.get("part") or "").strip()
    if divided and part.lower() not in PART_NAMES:
        return f'"{part}" is no part: train, validation or test'
    return "" if image.is_file() else f"no such image: {image}"
