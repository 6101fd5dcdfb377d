"""Labels from other tools: CSV, class folders, COCO classification JSON and Label Studio's JSON.

Files from outside are untrusted: sizes are limited, every problem is reported with its place, and nothing is recorded
unless all of it can be. An image is a capture if its bytes are, or if its name contains the capture's digest, which the
names that `toolkit label --export` writes do.

    csv            image,label[,who,at]            one line per image
    folders        CLASS/FILE                      images, recognized by their bytes
    coco           images, categories, annotations  one category per image; boxes are ignored
    label-studio   a list of tasks, or JSON-MIN    the newest annotation that was not canceled
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from toolkit import hashing
from toolkit.artifacts.labeling import CLASS, NOT_SURE, UNKNOWN
from toolkit.data.formats.scan import list_files
from toolkit.errors import DataError, Problem, UsageError
from toolkit.loop.decisions import Choice

MAX_BYTES = 64 << 20
"""Of a CSV or JSON file: about a hundred thousand tasks of Label Studio."""
MAX_PROBLEMS = 20
"""Problems reported one by one; the others are counted."""
_DIGEST = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")


@dataclass(frozen=True, slots=True)
class LabelRow:
    """A label of an image as a file gives it; `where` is its place in the file."""

    image: str
    """The name of the image, or its digest."""
    label: str
    where: str
    who: str = ""
    at: str = ""


@dataclass(frozen=True, slots=True)
class LabelImport:
    """Decisions to record, and the images that are no captures."""

    choices: tuple[Choice, ...]
    strangers: tuple[str, ...]


def read_labels(path: Path, form: str | None, classes: Sequence[str], captures: AbstractSet[str]) -> LabelImport:
    """The decisions in a file or folder about `captures`, which are digests.

    Raises:
        UsageError: an unknown format.
        DataError: with everything that cannot be taken over; then nothing is.
    """
    form = form or _guess(path)
    if form not in READERS:
        raise UsageError(f"unknown label format {form!r}", remedy=f"choose one of {', '.join(READERS)}")
    choices: dict[str, Choice] = {}
    places: dict[str, str] = {}
    strangers: list[str] = []
    problems: list[Problem] = []
    for entry in READERS[form](path):
        if isinstance(entry, Problem):
            problems.append(entry)
            continue
        digest = _digest(entry.image)
        if digest not in captures:
            strangers.append(entry.image)
        elif choice := _choice(entry, digest, classes):
            if (other := choices.get(digest)) and (other.verdict, other.label) != (choice.verdict, choice.label):
                first = f"{other.label or other.verdict!s} at {places[digest]}"
                what = f"the image has two labels: {_shown(entry.label)} here, {_shown(first)}"
                problems.append(Problem(what, entry.where, "keep one of them"))
            choices[digest], places[digest] = choice, entry.where
        else:
            what = f"the experiment has no class {_shown(entry.label)}"
            problems.append(Problem(what, entry.where, f"it has {', '.join(classes)}, {UNKNOWN} and {NOT_SURE}"))
    _raise(problems)
    if not choices:
        what = "contains no label of a capture" + (f": {len(strangers)} images are no captures" if strangers else "")
        raise DataError(what, where=str(path), remedy="label what `toolkit label EXPERIMENT --export` wrote")
    return LabelImport(tuple(choices.values()), tuple(strangers))


def _raise(problems: Sequence[Problem]) -> None:
    if len(problems) > MAX_PROBLEMS:
        more = Problem(f"and {len(problems) - MAX_PROBLEMS} more problems", problems[0].where.partition(":")[0])
        problems = [*problems[:MAX_PROBLEMS], more]
    if problems:
        raise DataError.from_problems(problems)


def _guess(path: Path) -> str:
    if path.is_dir():
        return "folders"
    if path.suffix.lower() == ".csv":
        return "csv"
    content = _json(path) if path.suffix.lower() == ".json" else None
    if isinstance(content, Problem):
        raise DataError.from_problems([content])
    return "coco" if isinstance(content, dict) else "label-studio" if isinstance(content, list) else ""


def _choice(entry: LabelRow, digest: str, classes: Sequence[str]) -> Choice | None:
    """A class of the experiment first: one of them may be called "unknown"."""
    if entry.label in classes:
        return Choice(digest, CLASS, entry.label, entry.who, entry.at)
    return Choice(digest, entry.label, "", entry.who, entry.at) if entry.label in {UNKNOWN, NOT_SURE} else None


def _digest(image: str) -> str:
    """The last digest in an image's name: tools put upload numbers and folders of their own before it."""
    return next(reversed(_DIGEST.findall(image.lower())), "")


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}…")


def _time(value: object) -> str:
    """The time in UTC as it is recorded; nothing if it is none."""
    try:
        moment = datetime.fromisoformat(str(value))
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return moment.astimezone(UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError):
        return ""


def _csv(path: Path) -> Iterator[LabelRow | Problem]:
    text = _text(path)
    if isinstance(text, Problem):
        yield text
        return
    try:
        rows = list(csv.reader(text.splitlines(), strict=True))
    except csv.Error as error:
        yield Problem(f"not a CSV file: {error}", str(path), "write it as UTF-8, with a line image,label first")
        return
    columns = [name.strip() for name in rows[0]] if rows else []
    if not {"image", "label"} <= set(columns) or len(set(columns)) != len(columns):
        yield Problem("the first line does not name the columns image and label", str(path), "write image,label first")
        return
    for number, row in enumerate(rows[1:], start=2):
        where = f"{path}: line {number}"
        if not row:
            continue
        if len(row) != len(columns):
            yield Problem("has more or fewer fields than the first line", where, "fix the line, or remove it")
            continue
        cells = dict(zip(columns, map(_plain, row), strict=True))
        if cells["label"]:
            yield LabelRow(cells["image"], cells["label"], where, cells.get("who", ""), _time(cells.get("at", "")))


def _plain(cell: str) -> str:
    """Without the apostrophe that keeps spreadsheets from running a cell (toolkit.files.csv_text)."""
    text = cell.strip()
    return text[1:] if text[:1] == "'" and text[1:2] in {"=", "+", "-", "@"} else text


def _folders(path: Path) -> Iterator[LabelRow | Problem]:
    if not path.is_dir():
        yield Problem("not a folder", str(path), "name a folder with one subfolder per class")
        return
    for folder in sorted(path.iterdir()):
        if folder.is_dir() and not folder.name.startswith("."):
            for file in list_files(folder)[0]:
                try:
                    yield LabelRow(hashing.sha256_file(file), folder.name, str(file))
                except OSError as error:
                    yield Problem(error.strerror or str(error), str(file), "make it readable, or remove it")


def _coco(path: Path) -> Iterator[LabelRow | Problem]:
    content = _json(path)
    if isinstance(content, Problem):
        yield content
        return
    tables = content if isinstance(content, dict) else {}
    images, categories = _by_id(tables.get("images")), _by_id(tables.get("categories"))
    annotations = tables.get("annotations")
    if not images or not categories or not isinstance(annotations, list):
        remedy = "it needs the lists images, categories and annotations"
        yield Problem("not a COCO file", str(path), remedy)
        return
    for number, annotation in enumerate(annotations):
        where = f"{path}: annotations[{number}]"
        one = annotation if isinstance(annotation, dict) else {}
        image, category = images.get(_key(one.get("image_id"))), categories.get(_key(one.get("category_id")))
        if image is None or category is None:
            yield Problem("names an image or a category that the file does not list", where, "export the file again")
        else:
            yield LabelRow(str(image.get("file_name", "")), str(category.get("name", "")), where)


def _by_id(rows: object) -> dict[str, Mapping[str, Any]]:
    return {_key(row.get("id")): row for row in rows if isinstance(row, dict)} if isinstance(rows, list) else {}


def _key(value: object) -> str:
    return str(value) if isinstance(value, int | str) else ""


def _label_studio(path: Path) -> Iterator[LabelRow | Problem]:
    content = _json(path)
    if isinstance(content, Problem):
        yield content
        return
    if not isinstance(content, list):
        yield Problem("not a list of Label Studio's tasks", str(path), "export it as JSON or JSON-MIN")
        return
    for number, task in enumerate(content):
        where = f"{path}: task {number + 1}"
        if not isinstance(task, dict):
            yield Problem("not a task", where, "export it as JSON or JSON-MIN")
        elif "data" in task or "annotations" in task:
            yield from _task(task, where)
        elif isinstance(choice := task.get("choice"), str):
            yield LabelRow(_image(task), choice, where, _email(task.get("annotator")), _time(task.get("created_at")))


def _task(task: Mapping[str, Any], where: str) -> Iterator[LabelRow | Problem]:
    """The newest annotation of a task; a task that nobody annotated has none."""
    listed = task.get("annotations")
    valid = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    valid = [one for one in valid if not one.get("was_cancelled") and one.get("result")]
    if not valid:
        return
    newest = max(valid, key=lambda one: _time(one.get("updated_at") or one.get("created_at")))
    choices = _choices(newest.get("result"))
    data = task.get("data")
    if len(choices) != 1:
        yield Problem(f"has {len(choices)} choices, not one", where, "choose one class for each image")
        return
    who, at = _email(newest.get("completed_by")), _time(newest.get("created_at"))
    yield LabelRow(_image(data if isinstance(data, dict) else {}), choices[0], where, who, at)


def _choices(result: object) -> list[str]:
    values = [one.get("value") for one in result if isinstance(one, dict)] if isinstance(result, list) else []
    listed = [value.get("choices") for value in values if isinstance(value, dict)]
    return [choice for choices in listed if isinstance(choices, list) for choice in choices if isinstance(choice, str)]


def _image(data: Mapping[str, Any]) -> str:
    """The value that names the image: its key is the project's own, so the one with a digest is taken."""
    texts = [value for value in data.values() if isinstance(value, str)]
    return next((text for text in texts if _digest(text)), next(iter(texts), ""))


def _email(who: object) -> str:
    value = who.get("email") if isinstance(who, dict) else who
    return f"Label Studio user {value}" if isinstance(value, int) else value if isinstance(value, str) else ""


def _text(path: Path) -> str | Problem:
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            return Problem(f"larger than the limit of {MAX_BYTES >> 20} MiB", str(path), "split it")
        return content.decode("utf-8-sig")
    except OSError as error:
        return Problem(error.strerror or str(error), str(path), "name a file that can be read")
    except UnicodeDecodeError:
        return Problem("not UTF-8", str(path), "write it as UTF-8")


def _json(path: Path) -> Any:
    """The content of a JSON file, or the problem with it."""
    text = _text(path)
    if isinstance(text, Problem):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        return Problem(f"not valid JSON: {error}", str(path), "export it again")


READERS: Mapping[str, Callable[[Path], Iterator[LabelRow | Problem]]] = {
    "csv": _csv,
    "folders": _folders,
    "coco": _coco,
    "label-studio": _label_studio,
}
"""Formats by name."""
