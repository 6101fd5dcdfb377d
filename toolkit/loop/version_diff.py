"""How two versions of a data set differ: images added, removed, relabeled, and moved between subsets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from toolkit import data
from toolkit.artifacts.dataset import Split
from toolkit.artifacts.labeling import DatasetVersion
from toolkit.errors import UsageError
from toolkit.store import Store
from toolkit.workspace import Workspace

_NAME = re.compile(r"(?:(?P<experiment>[a-z0-9][a-z0-9-]*)@)?v(?P<number>[1-9]\d*)")


@dataclass(frozen=True, slots=True)
class ImageChange:
    """An image that two splits do not hold alike; of an image that one does not have, subset and label are empty."""

    sha256: str
    path: str
    change: str
    """"added", "removed", or "changed"."""
    before: tuple[str, str]
    """Subset and label."""
    after: tuple[str, str]


@dataclass(frozen=True, slots=True)
class VersionDiff:
    """Two splits, named as a figure that was made from them names them, and every image that differs."""

    first: str
    second: str
    first_digest: str
    second_digest: str
    changes: tuple[ImageChange, ...]

    def counts(self) -> Mapping[tuple[str, str, str], int]:
        """Changes by kind, subset and label; of a changed image those of before and after, as "from → to"."""
        counts: dict[tuple[str, str, str], int] = {}
        for one in self.changes:
            subset, label = (
                after or before if not (before and after) or before == after else f"{before} → {after}"
                for before, after in zip(one.before, one.after, strict=True)
            )
            counts[one.change, subset, label] = counts.get((one.change, subset, label), 0) + 1
        return dict(sorted(counts.items()))


def diff_versions(first: str, second: str, workspace: Workspace, store: Store) -> VersionDiff:
    """Compare two versions, each named EXPERIMENT@vN, vN, or by four or more digits of its split's digest.

    Raises:
        UsageError: a name that no version has, or several have.
        DataError: a manifest is gone.
    """
    (one, one_split), (other, other_split) = (find_split(name, store) for name in (first, second))
    changes = tuple(_changes(one_split, other_split, workspace))
    return VersionDiff(one, other, one_split.digest, other_split.digest, changes)


def find_split(name: str, store: Store) -> tuple[str, Split]:
    """The split of a version, and what it is called."""
    versions = store.all(DatasetVersion)
    if match := _NAME.fullmatch(name):
        number, experiment = int(match["number"]), match["experiment"]
        named = [one for one in versions if one.number == number and experiment in {None, one.experiment}]
        splits = {one.name: split for one in named if (split := store.get(Split, one.split))}
    else:
        known = {one.split: one.name for one in versions}
        valid = store.starting_with(Split, name) if re.fullmatch(r"[0-9a-f]{4,64}", name) else ()
        splits = {known.get(split.digest) or f"{split.name} {split.digest[:12]}": split for split in valid}
    if len(splits) != 1:
        what = f"{len(splits)} versions match: {', '.join(splits)}" if splits else "no such version"
        known_names = ", ".join(one.name for one in versions) or "none yet: toolkit retrain EXPERIMENT makes them"
        raise UsageError(what, where=name, remedy=f"known versions: {known_names}")
    return next(iter(splits.items()))


def _changes(one: Split, other: Split, workspace: Workspace) -> Iterator[ImageChange]:
    before, after = (_placed(split, workspace) for split in (one, other))
    for digest in sorted(before.keys() | after.keys()):
        (path, *old), (path_after, *new) = before.get(digest, ("", "", "")), after.get(digest, ("", "", ""))
        if old != new:
            change = "changed" if digest in before and digest in after else "removed" if digest in before else "added"
            yield ImageChange(digest, path or path_after, change, (old[0], old[1]), (new[0], new[1]))


def _placed(split: Split, workspace: Workspace) -> dict[str, tuple[str, str, str]]:
    """Path, subset and labels of every image by its digest."""
    return {
        image.sha256: (str(image.path), image.subset, "; ".join(split.labels[index] for index in image.indices))
        for image in data.read_manifest(split, workspace)
    }
