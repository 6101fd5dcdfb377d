"""Prepare a data set: scan, validate every image, split, write the manifest. A second call does nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit.artifacts.dataset import Split
from toolkit.data.formats import scan_source
from toolkit.data.formats.scan import Scan, format_ignored
from toolkit.data.near_duplicates import DuplicatePair, candidate_pairs, confirm_pairs, format_pairs
from toolkit.data.split_manifest import (
    SUBSETS,
    Image,
    count_images,
    count_labels,
    sort_images,
    split_digest,
    with_indices,
    write_manifest,
)
from toolkit.data.splitting import Item, split_dataset
from toolkit.data.validation import ValidatedImage, drop_duplicates, duplicates, validate_images
from toolkit.errors import ConfigurationError, DataError, Problem
from toolkit.experiment.schema import DataConfig
from toolkit.progress import Progress
from toolkit.workspace import Workspace

SYNTHETIC_NOTE = "synthetic masks"
FACES_NOTE = "faces of 40 volunteers from 1992 to 1994, each of them in every subset"


@dataclass(frozen=True, slots=True)
class DatasetSummary:
    """A folder of images, every one of them read; `problems` is everything that keeps it from being used."""

    scan: Scan
    checked: tuple[ValidatedImage, ...]
    problems: tuple[Problem, ...]

    def counts(self) -> dict[str, dict[str, int]]:
        """Readable images by subset and class; a folder that is not divided yet has the one subset "all"."""
        counts: dict[str, dict[str, int]] = {}
        for one in self.checked:
            classes = counts.setdefault(one.file.subset or "all", dict.fromkeys(self.scan.labels, 0))
            for name in one.file.names:
                classes[name] += 1
        return counts

    def files(self) -> dict[str, int]:
        """Files used, ignored and refused."""
        refused = len(self.scan.images) - len(self.checked)
        return {"used": len(self.checked), "ignored": len(self.scan.ignored), "refused": refused}

    def format_files(self) -> tuple[str, ...]:
        """Return a summary of all files: counts, then ignored files with reasons."""
        numbers = ", ".join(f"{number} {what}" for what, number in self.files().items())
        return f"files: {numbers}", *format_ignored(self.scan.ignored, self.scan.root)

    def sizes(self) -> dict[str, tuple[int, int]]:
        """The least and the greatest height and width in pixels; empty without images."""
        if not self.checked:
            return {}
        heights, widths = [one.height for one in self.checked], [one.width for one in self.checked]
        return {"height": (min(heights), max(heights)), "width": (min(widths), max(widths))}

    def near_duplicates(
        self, progress: Progress, subsets: Mapping[Path, str] | None = None
    ) -> tuple[DuplicatePair, ...]:
        """Pairs of images that look the same in two subsets, by their places in `checked`.

        `subsets` says where each lies; unset: where it was given, or anywhere if the data is not divided.
        """
        paths = [one.file.path for one in self.checked]
        lie = (
            [subsets[path] for path in paths] if subsets else [one.file.subset or one.file.path for one in self.checked]
        )
        return confirm_pairs(candidate_pairs([one.hash for one in self.checked], lie), paths, progress)

    def format_near_duplicates(
        self, pairs: Sequence[DuplicatePair], subsets: Mapping[Path, str] | None = None
    ) -> tuple[str, ...]:
        """The same for people: how many between which subsets, and the closest by name."""
        paths = [one.file.path for one in self.checked]
        lie = [
            subsets[path] if subsets else one.file.subset or "all"
            for path, one in zip(paths, self.checked, strict=True)
        ]
        return format_pairs(pairs, [_name(path, self.scan.root) for path in paths], lie)


def prepare_dataset(table: DataConfig, origin: Path, workspace: Workspace, progress: Progress) -> Split:
    """The split that `table` asks for; its path is relative to where `origin`, the experiment file, lies.

    Raises:
        DataError: with every image that cannot be read and everything else that is wrong with the data.
        ConfigurationError: data.group is not a regular expression with a group.
    """
    if table.source == "synthetic-masks":
        return prepare_masks(table, workspace, progress)
    if table.source == "faces":
        return _prepare(table, workspace, progress, name="orl-faces", note=FACES_NOTE)
    own = {"cifar10", "cifar100", "flowers102"}
    name = table.source if table.source in own else (table.path or Path()).resolve().name.split(".")[0]
    return _prepare(resolve_paths(table, origin), workspace, progress, name=name)


def resolve_paths(table: DataConfig, origin: Path) -> DataConfig:
    """The table with its paths, which are relative to where `origin` lies, made whole."""
    paths = {key: path for key in ("path", "class_names") if (path := getattr(table, key)) is not None}
    return table.model_copy(update={key: (origin.parent / path).resolve() for key, path in paths.items()})


def prepare_masks(table: DataConfig, workspace: Workspace, progress: Progress) -> Split:
    """The synthetic mask set of the table's seed, made if it is not there, divided by person."""
    from toolkit.data.synthetic_masks.dataset import PERSON, make_masks

    root = make_masks(workspace, table.seed, progress)
    made = table.model_copy(update={"source": "folders", "path": root, "group": PERSON})
    return _prepare(made, workspace, progress, name="synthetic-masks", note=SYNTHETIC_NOTE)


def _prepare(table: DataConfig, workspace: Workspace, progress: Progress, *, name: str, note: str = "") -> Split:
    pattern = _compiled(table.group)
    summary = summarize(table, workspace, progress)
    if summary.files()["used"] < sum(summary.files().values()):
        for line in summary.format_files():
            progress.log(line)
    if summary.problems:
        raise DataError.from_problems(summary.problems)
    images = _assign_subsets(summary, table, pattern)
    subsets = {image.path: image.subset for image in images}
    for line in summary.format_near_duplicates(summary.near_duplicates(progress, subsets), subsets):
        progress.log(line)
    return write_split(images, summary.scan.labels, name, note, workspace, progress)


def summarize(table: DataConfig, workspace: Workspace, progress: Progress) -> DatasetSummary:
    """Look at everything that the table, whose paths are whole, names; problems are collected, not raised."""
    scan = scan_source(table, workspace, progress)
    max_bytes = None if table.max_image_mb is None else int(table.max_image_mb * 1e6)
    checked, unreadable = validate_images(scan.images, scan.root, workspace, progress, max_bytes)
    if table.leaks == "refuse":
        return DatasetSummary(scan, checked, (*scan.problems, *unreadable, *duplicates(checked)))
    remaining = drop_duplicates(checked)
    if dropped := len(checked) - len(remaining):
        progress.log(f"left out {dropped} images that are also in another subset or class")
    return DatasetSummary(scan, remaining, (*scan.problems, *unreadable))


def write_split(
    images: Sequence[Image], labels: tuple[str, ...], name: str, note: str, workspace: Workspace, progress: Progress
) -> Split:
    """The split of `images`, in the order of `sort_images`, with its manifest written."""
    path, changed = write_manifest(images, labels, workspace)
    digest = split_digest(images, labels)
    split = Split(
        digest=digest,
        name=name,
        note=note,
        labels=labels,
        counts=count_labels(images, labels),
        path=workspace.relative(path),
        images=count_images(images),
    )
    sizes = ", ".join(f"{subset} {split.size(subset)}" for subset in SUBSETS)
    state = "" if changed else "; nothing changed"
    progress.log(f"split {digest[:12]} of {name}{f' ({note})' if note else ''}: {sizes}{state}")
    return split


def _assign_subsets(summary: DatasetSummary, table: DataConfig, group: re.Pattern[str] | None) -> tuple[Image, ...]:
    """Every image with its subset: its folder's, or one dealt by the seed."""
    root, labels = summary.scan.root, summary.scan.labels
    names = {one.file.path: _name(one.file.path, root) for one in summary.checked}
    groups = _groups(names, group)
    items = {
        name: Item(name, one.sha256, one.file.label, groups.get(name), one.file.labels)
        for one in summary.checked
        for name in [names[one.file.path]]
    }
    if summary.scan.divided:
        subsets = {names[one.file.path]: str(one.file.subset) for one in summary.checked}
        _refuse_straddling(groups, subsets, root)
        if "validation" not in subsets.values():
            subsets |= _validated([item for name, item in items.items() if subsets[name] == "train"], table)
    else:
        subsets = split_dataset(
            list(items.values()), {subset: getattr(table.split, subset) for subset in SUBSETS}, table.seed
        )
    placed = (
        _image(one, labels, subsets[name], groups.get(name))
        for one in summary.checked
        for name in [names[one.file.path]]
    )
    images = sort_images(placed)
    _refuse_gaps(images, labels, table, root)
    return images


def _image(one: ValidatedImage, labels: Sequence[str], subset: str, group: str | None) -> Image:
    file = one.file
    if file.labels is None:
        return Image(file.path, one.sha256, labels.index(file.label), subset, group)
    held, unsure = ([labels.index(name) for name in names] for names in (file.labels, file.unsure))
    return with_indices(file.path, one.sha256, held, unsure, subset, group)


def _name(path: Path, root: Path) -> str:
    """What an image is called in its data set, wherever that lies."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def _validated(items: Sequence[Item], table: DataConfig) -> dict[str, str]:
    """The training images of data that came without a validation subset, divided by data.validation."""
    return split_dataset(items, {"train": 1 - table.validation, "validation": table.validation}, table.seed)


def _compiled(group: str | None) -> re.Pattern[str] | None:
    if group is None:
        return None
    remedy = r"such as ^(person\d+)_, whose first group names what belongs together"
    try:
        pattern = re.compile(group)
    except re.error as error:
        raise ConfigurationError(f"not a regular expression: {error}", where="data.group", remedy=remedy) from None
    if not pattern.groups:
        raise ConfigurationError("the regular expression has no group ( )", where="data.group", remedy=remedy)
    return pattern


def _groups(names: Mapping[Path, str], pattern: re.Pattern[str] | None) -> dict[str, str]:
    """The group of each image by its name in the data set; empty without a pattern."""
    if pattern is None:
        return {}
    matches = {path: pattern.search(path.name) for path in names}
    strangers = [path for path, match in matches.items() if not (match and match[1])]
    if strangers:
        what, remedy = f"its name does not match data.group, {pattern.pattern}", "rename it, or widen the expression"
        raise DataError.from_problems([Problem(what, str(path), remedy) for path in strangers])
    return {names[path]: match[1] for path, match in matches.items() if match}


def _refuse_straddling(groups: Mapping[str, str], subsets: Mapping[str, str], root: Path) -> None:
    """Parts that came with the data must not share a group either."""
    held: dict[str, set[str]] = {}
    for name, group in groups.items():
        held.setdefault(group, set()).add(subsets[name])
    problems = [
        Problem(f'group "{group}" is in {" and ".join(sorted(where))}', str(root), "move it into one subset")
        for group, where in sorted(held.items())
        if len(where) > 1
    ]
    if problems:
        raise DataError.from_problems(problems)


def _refuse_gaps(images: Sequence[Image], labels: Sequence[str], table: DataConfig, root: Path) -> None:
    """Yield a problem for each requested subset that lacks images of a class."""
    counts = count_labels(images, labels)
    problems = [
        Problem(
            f'class "{label}" has no images in {subset}: {sum(counts[p][label] for p in SUBSETS)} are too few to split',
            str(root / label),
            "add images of it, change data.split, or use finer groups",
        )
        for subset in SUBSETS
        for label in labels
        if not counts[subset][label] and getattr(table.split, subset) > 0
    ]
    if problems:
        raise DataError.from_problems(problems)
