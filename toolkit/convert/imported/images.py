"""The labels and the images that a user gives with a model that was not trained here."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit import hashing
from toolkit.artifacts.dataset import Split
from toolkit.convert import parity
from toolkit.convert.imported.model import ImportedGraph
from toolkit.convert.imported.options import ImportOptions
from toolkit.errors import ConfigurationError, DataError, Problem, UsageError
from toolkit.progress import Progress
from toolkit.workspace import Workspace

if TYPE_CHECKING:
    from toolkit.data import Image

SELF_LABELED_NOTE = "labeled by the model itself: accuracy is agreement with it"


def read_labels(path: Path | None) -> tuple[str, ...]:
    """One label a line, in the order of the model's outputs.

    Raises:
        UsageError: no file was named.
        ConfigurationError: it cannot be read, is empty, or says a label twice.
    """
    if path is None:
        remedy = "--labels FILE, one label a line, in the order of the model's outputs"
        raise UsageError("a model that was not trained here needs its labels", remedy=remedy)
    try:
        labels = tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot be read: {error}", where=str(path)) from None
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice or len(labels) < 2:
        what = f"says twice: {', '.join(twice[:5])}" if twice else f"names {len(labels)} labels, not two or more"
        raise ConfigurationError(what, where=str(path), remedy="one label a line, each once")
    return labels


def check_labels(labels: Sequence[str], classes: int, file: Path | None) -> None:
    """See that there is a label for each output, and two for a single one.

    Raises:
        DataError: there are more or fewer.
    """
    wanted = 2 if classes == 1 else classes
    if len(labels) == wanted:
        return
    hint = "; one more output than labels is often a background class, which comes first" * (classes == len(labels) + 1)
    raise DataError(
        f"names {len(labels)} labels, but the model has {classes} output{'s' * (classes > 1)}, which need {wanted}",
        where=str(file),
        remedy=f"one label a line, in the order of the outputs{hint}",
    )


def build_split(
    opened: ImportedGraph, labels: tuple[str, ...], said: ImportOptions, workspace: Workspace, progress: Progress
) -> Split:
    """The user's images as a split: class folders, or one folder of images, labeled by what the model answers."""
    from toolkit.data.split_manifest import count_images, count_labels, sort_images, split_digest, write_manifest

    folder = said.images
    if folder is None or not folder.is_dir():
        remedy = "--images FOLDER: class folders named as the labels, or a folder of images"
        what = "no such folder" if folder else "a bundle proves its answers by images"
        raise UsageError(what, where=str(folder or ""), remedy=remedy)
    divided = any(entry.is_dir() for entry in folder.iterdir())
    if divided:
        images = _labeled(folder, labels, workspace, progress)
    else:
        images = _labeled_by_itself(folder, opened, said.crop, workspace)
    ordered = sort_images(images)
    path, _ = write_manifest(ordered, labels, workspace)
    return Split(
        digest=split_digest(ordered, labels),
        name=folder.resolve().name,
        note="" if divided else SELF_LABELED_NOTE,
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


def _labeled_by_itself(folder: Path, opened: ImportedGraph, crop: str, workspace: Workspace) -> list[Image]:
    """The images that lie in the folder, each with the label that the model's own runtime gives it."""
    from toolkit import data
    from toolkit.data.formats.scan import list_files

    files, _ignored = list_files(folder, recursive=False)
    bare = [data.Image(file.resolve(), hashing.sha256_file(file), 0, "test") for file in files]
    if len(bare) < 2:
        remedy = "give some of each class, as the model will see them"
        raise DataError(f"holds {len(bare)} images; two are the least", where=str(folder), remedy=remedy)
    pixels = data.load_images(bare, opened.size, crop, workspace=workspace)
    found = parity.top1(opened.predict([pixels]))
    return [dataclasses.replace(one, label=int(label)) for one, label in zip(bare, found, strict=True)]
