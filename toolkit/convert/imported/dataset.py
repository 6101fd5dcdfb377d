"""The labels and images that a user passes with an imported model."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit import hashing
from toolkit.artifacts.dataset import Split
from toolkit.convert.imported.options import ImportOptions
from toolkit.errors import ConfigurationError, DataError, Problem, UsageError
from toolkit.progress import Progress
from toolkit.workspace import Workspace

if TYPE_CHECKING:
    from toolkit.data import Image

SELF_LABELED_NOTE = "labeled by the model itself: accuracy is agreement with it"


def read_labels(path: Path | None, known: Sequence[str] | None) -> tuple[str, ...]:
    """The labels in the order of the model's outputs: from a file, or those that the model itself names.

    The file has one label a line, which may be numbered, as Teachable Machine writes them ("0 red"); the numbers then
    give the order. Or it is JSON: a list, {"0": "red"}, Keras' {"red": 0}, or a "config.json" with "id2label".

    Raises:
        UsageError: there are none.
        ConfigurationError: the file cannot be read, is empty, or has a label twice.
        DataError: the model names the same labels in another order.
    """
    if path is None:
        if known and len(known) > 1:
            return tuple(known)
        remedy = "--labels FILE, one label a line or JSON, in the order of the model's outputs"
        raise UsageError("an imported model needs its labels", remedy=remedy)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot be read: {error}", where=str(path)) from None
    labels = _from_json(text, path) or _without_numbers([line.strip() for line in text.splitlines() if line.strip()])
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice or len(labels) < 2:
        what = f"has a label twice: {', '.join(twice[:5])}" if twice else f"has {len(labels)} labels, not two or more"
        raise ConfigurationError(what, where=str(path), remedy="one label per line, without repeats")
    if known and set(known) == set(labels) and tuple(known) != labels:
        what = f"has the labels in another order than the model itself, which names them {', '.join(known[:10])}"
        raise DataError(what, where=str(path), remedy="leave --labels out, or put them in the model's order")
    return labels


def _from_json(text: str, path: Path) -> tuple[str, ...]:
    """The labels of a JSON document; empty for text that is none.

    Raises:
        ConfigurationError: it is JSON, but holds no labels in an order.
    """
    if not text.lstrip().startswith(("[", "{")):
        return ()
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return ()
    if isinstance(document, dict):
        document = document.get("id2label", document)
    if isinstance(document, dict):
        document = _in_order(document)
    if isinstance(document, list) and document and all(isinstance(label, str) and label.strip() for label in document):
        return tuple(label.strip() for label in document)
    remedy = 'a list of labels, {"0": "red", "1": "green"} or {"red": 0, "green": 1}, numbered from 0 on'
    raise ConfigurationError("is JSON without labels in an order", where=str(path), remedy=remedy)


def _in_order(numbered: Mapping[str, Any]) -> list[Any] | None:
    """The labels of an object with numbers as keys or as values; None unless those are 0, 1, 2 and so on."""
    by_number: dict[Any, Any] = {int(key): value for key, value in numbered.items() if key.isdecimal()}
    if len(by_number) < len(numbered):
        by_number = {number: label for label, number in numbered.items() if isinstance(number, int)}
    return (
        [by_number[number] for number in range(len(numbered))] if set(by_number) == set(range(len(numbered))) else None
    )


def _without_numbers(lines: Sequence[str]) -> tuple[str, ...]:
    """The labels of lines that are all numbered from 0 or 1 on, by their numbers; other lines as they are."""
    matches = [match for line in lines if (match := re.fullmatch(r"(\d+)[\s:,;.)]+(\S.*)", line))]
    numbered = sorted((int(match[1]), match[2].strip()) for match in matches)
    numbers = [number for number, _ in numbered]
    if len(matches) < len(lines) or numbers not in (list(range(len(lines))), list(range(1, len(lines) + 1))):
        return tuple(lines)
    return tuple(label for _, label in numbered)


def check_labels(labels: Sequence[str], classes: int, file: Path | None) -> None:
    """See that there is a label for each output, and two for a single one.

    Raises:
        DataError: there are more or fewer.
    """
    expected = 2 if classes == 1 else classes
    if len(labels) == expected:
        return
    hint = "; one more output than labels is often a background class, which comes first" * (classes == len(labels) + 1)
    raise DataError(
        f"names {len(labels)} labels, but the model has {classes} output{'s' * (classes > 1)}, which need {expected}",
        where=str(file),
        remedy=f"one label per line, in the order of the outputs{hint}",
    )


def find_images(
    options: ImportOptions, labels: Sequence[str], workspace: Workspace, progress: Progress
) -> tuple[list[Image], bool]:
    """The user's images, and whether they are labeled: class folders, or one folder of images.

    Raises:
        UsageError: no folder was named.
        DataError: a class folder is not one of the labels, or there are fewer than two images.
    """
    folder = options.images
    if folder is None or not folder.is_dir():
        remedy = "--images FOLDER: class folders named as the labels, or a folder of images"
        what = "no such folder" if folder else "test images are needed to verify the converted model"
        raise UsageError(what, where=str(folder or ""), remedy=remedy)
    if any(entry.is_dir() for entry in folder.iterdir()):
        return _labeled(folder, labels, workspace, progress), True
    return _unlabeled(folder), False


def make_split(
    images: Sequence[Image], labels: tuple[str, ...], folder: Path, workspace: Workspace, *, labeled: bool
) -> Split:
    """The images as a split, whose manifest is written into the workspace."""
    from toolkit.data.split_manifest import count_images, count_labels, sort_images, split_digest, write_manifest

    ordered = sort_images(images)
    path, _ = write_manifest(ordered, labels, workspace)
    return Split(
        digest=split_digest(ordered, labels),
        name=folder.resolve().name,
        note="" if labeled else SELF_LABELED_NOTE,
        labels=labels,
        counts=count_labels(ordered, labels),
        path=workspace.relative(path),
        images=count_images(ordered),
    )


def _labeled(folder: Path, labels: Sequence[str], workspace: Workspace, progress: Progress) -> list[Image]:
    """The images of class folders, each label an index into the model's own."""
    from toolkit import data
    from toolkit.experiment.schema import DataConfig, SplitFractions

    table = DataConfig(source="folders", path=folder.resolve(), split=SplitFractions(train=0, validation=0, test=1))
    split = data.prepare_dataset(table, folder, workspace, progress)
    strangers = [label for label in split.labels if label not in labels]
    if strangers:
        remedy = f"name the folders as the labels: {', '.join(labels[:10])}"
        problems = [Problem("the model has no such label", str(folder / label), remedy) for label in strangers]
        raise DataError.from_problems(problems)
    return [
        dataclasses.replace(image, label=labels.index(split.labels[image.label]))
        for image in data.read_manifest(split, workspace)
    ]


def _unlabeled(folder: Path) -> list[Image]:
    """Return the images in the folder."""
    from toolkit import data
    from toolkit.data.formats.scan import list_files

    files, _ignored = list_files(folder, recursive=False)
    if len(files) < 2:
        remedy = "add images of each class, as the model will see them"
        raise DataError(f"holds {len(files)} images; it needs at least two", where=str(folder), remedy=remedy)
    return [data.Image(file.resolve(), hashing.sha256_file(file), 0, "test") for file in files]
