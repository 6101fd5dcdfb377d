"""From a data table to a split: scan, check every image, divide, write down. A second time nothing is done."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit.artifacts.dataset import Split
from toolkit.data.formats import scan_source
from toolkit.data.formats.folders import Scan
from toolkit.data.near_duplicates import Pair, candidate_pairs, confirm_pairs, format_pairs
from toolkit.data.split_manifest import (
    PARTS,
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
FACES_NOTE = "faces of 40 volunteers from 1992 to 1994, each of them in every part"


@dataclass(frozen=True, slots=True)
class DatasetSummary:
    """A folder of images, every one of them read; `problems` is everything that keeps it from being used."""

    scan: Scan
    checked: tuple[ValidatedImage, ...]
    problems: tuple[Problem, ...]

    def counts(self) -> dict[str, dict[str, int]]:
        """Readable images by part and class; a folder that is not divided yet has the one part "all"."""
        found: dict[str, dict[str, int]] = {}
        for one in self.checked:
            classes = found.setdefault(one.found.part or "all", dict.fromkeys(self.scan.labels, 0))
            for name in one.found.names:
                classes[name] += 1
        return found

    def sizes(self) -> dict[str, tuple[int, int]]:
        """The least and the greatest height and width in pixels; empty without images."""
        if not self.checked:
            return {}
        heights, widths = [one.height for one in self.checked], [one.width for one in self.checked]
        return {"height": (min(heights), max(heights)), "width": (min(widths), max(widths))}

    def alike(self, progress: Progress, parts: Mapping[Path, str] | None = None) -> tuple[Pair, ...]:
        """Pairs of images that look the same in two parts, by their places in `checked`.

        `parts` says where each lies; unset: where it was given, or anywhere if the data is not divided.
        """
        paths = [one.found.path for one in self.checked]
        lie = [parts[path] for path in paths] if parts else [one.found.part or one.found.path for one in self.checked]
        return confirm_pairs(candidate_pairs([one.hash for one in self.checked], lie), paths, progress)

    def told_alike(self, pairs: Sequence[Pair], parts: Mapping[Path, str] | None = None) -> tuple[str, ...]:
        """The same for people: how many between which parts, and the closest by name."""
        paths = [one.found.path for one in self.checked]
        lie = [parts[path] if parts else one.found.part or "all" for path, one in zip(paths, self.checked, strict=True)]
        return format_pairs(pairs, [_name(path, self.scan.root) for path in paths], lie)


def prepare_dataset(table: DataConfig, origin: Path, workspace: Workspace, progress: Progress) -> Split:
    """The split that `table` asks for; its path is relative to where `origin`, the experiment file, lies.

    Raises:
        DataError: with every image that cannot be read and everything else that is wrong with the data.
        ConfigurationError: data.group is no regular expression with a group.
    """
    if table.source == "synthetic-masks":
        return prepare_masks(table, workspace, progress)
    if table.source == "faces":
        return _prepared(table, workspace, progress, name="orl-faces", note=FACES_NOTE)
    own = {"cifar10", "cifar100", "flowers102"}
    name = table.source if table.source in own else (table.path or Path()).resolve().name.split(".")[0]
    return _prepared(resolve_paths(table, origin), workspace, progress, name=name)


def resolve_paths(table: DataConfig, origin: Path) -> DataConfig:
    """The table with its paths, which are relative to where `origin` lies, made whole."""
    paths = {key: path for key in ("path", "class_names") if (path := getattr(table, key)) is not None}
    return table.model_copy(update={key: (origin.parent / path).resolve() for key, path in paths.items()})


def prepare_masks(table: DataConfig, workspace: Workspace, progress: Progress) -> Split:
    """The synthetic mask set of the table's seed, made if it is not there, divided by person."""
    from toolkit.data.synthetic_masks.dataset import PERSON, make_masks

    root = make_masks(workspace, table.seed, progress)
    made = table.model_copy(update={"source": "folders", "path": root, "group": PERSON})
    return _prepared(made, workspace, progress, name="synthetic-masks", note=SYNTHETIC_NOTE)


def _prepared(table: DataConfig, workspace: Workspace, progress: Progress, *, name: str, note: str = "") -> Split:
    pattern = _compiled(table.group)
    surveyed = summarize(table, workspace, progress)
    if surveyed.problems:
        raise DataError.from_problems(surveyed.problems)
    images = _placed(surveyed, table, pattern)
    parts = {image.path: image.part for image in images}
    for line in surveyed.told_alike(surveyed.alike(progress, parts), parts):
        progress.log(line)
    return _written(images, surveyed.scan.labels, name, note, workspace, progress)


def summarize(table: DataConfig, workspace: Workspace, progress: Progress) -> DatasetSummary:
    """Look at everything that the table, whose paths are whole, names; problems are collected, not raised."""
    scanned = scan_source(table, workspace, progress)
    checked, unreadable = validate_images(scanned.found, scanned.root, workspace, progress)
    if table.leaks == "refuse":
        return DatasetSummary(scanned, checked, (*scanned.problems, *unreadable, *duplicates(checked)))
    kept = drop_duplicates(checked)
    if dropped := len(checked) - len(kept):
        progress.log(f"left out {dropped} images whose bytes lie in another part or class as well")
    return DatasetSummary(scanned, kept, (*scanned.problems, *unreadable))


def _written(
    images: Sequence[Image], labels: tuple[str, ...], name: str, note: str, workspace: Workspace, progress: Progress
) -> Split:
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
    sizes = ", ".join(f"{part} {split.size(part)}" for part in PARTS)
    state = "" if changed else "; nothing changed"
    progress.log(f"split {digest[:12]} of {name}{f' ({note})' if note else ''}: {sizes}{state}")
    return split


def _placed(surveyed: DatasetSummary, table: DataConfig, group: re.Pattern[str] | None) -> tuple[Image, ...]:
    """Every image with its part: its folder's, or one dealt by the seed."""
    root, labels = surveyed.scan.root, surveyed.scan.labels
    names = {one.found.path: _name(one.found.path, root) for one in surveyed.checked}
    groups = _groups(names, group)
    items = {
        name: Item(name, one.sha256, one.found.label, groups.get(name), one.found.labels)
        for one in surveyed.checked
        for name in [names[one.found.path]]
    }
    if surveyed.scan.divided:
        parts = {names[one.found.path]: str(one.found.part) for one in surveyed.checked}
        _refuse_straddling(groups, parts, root)
        if "validation" not in parts.values():
            parts |= _validated([item for name, item in items.items() if parts[name] == "train"], table)
    else:
        parts = split_dataset(list(items.values()), {part: getattr(table.split, part) for part in PARTS}, table.seed)
    placed = (
        _image(one, labels, parts[name], groups.get(name))
        for one in surveyed.checked
        for name in [names[one.found.path]]
    )
    images = sort_images(placed)
    _refuse_gaps(images, labels, table, root)
    return images


def _image(one: ValidatedImage, labels: Sequence[str], part: str, group: str | None) -> Image:
    found = one.found
    if found.labels is None:
        return Image(found.path, one.sha256, labels.index(found.label), part, group)
    held, unsure = ([labels.index(name) for name in names] for names in (found.labels, found.unsure))
    return with_indices(found.path, one.sha256, held, unsure, part, group)


def _name(path: Path, root: Path) -> str:
    """What an image is called in its data set, wherever that lies."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def _validated(items: Sequence[Item], table: DataConfig) -> dict[str, str]:
    """The training images of data that came without a validation part, divided by data.validation."""
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


def _refuse_straddling(groups: Mapping[str, str], parts: Mapping[str, str], root: Path) -> None:
    """Parts that came with the data must not share a group either."""
    held: dict[str, set[str]] = {}
    for name, group in groups.items():
        held.setdefault(group, set()).add(parts[name])
    problems = [
        Problem(f'group "{group}" lies in {" and ".join(sorted(where))}', str(root), "move it into one part")
        for group, where in sorted(held.items())
        if len(where) > 1
    ]
    if problems:
        raise DataError.from_problems(problems)


def _refuse_gaps(images: Sequence[Image], labels: Sequence[str], table: DataConfig, root: Path) -> None:
    """Every part that is asked for needs images of every class."""
    counts = count_labels(images, labels)
    problems = [
        Problem(
            f'class "{label}" has no images in {part}: {sum(counts[p][label] for p in PARTS)} are too few to divide',
            str(root / label),
            "add images of it, change data.split, or use finer groups",
        )
        for part in PARTS
        for label in labels
        if not counts[part][label] and getattr(table.split, part) > 0
    ]
    if problems:
        raise DataError.from_problems(problems)
