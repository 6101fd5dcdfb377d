"""The split manifest: JSON lines, one per image, named by the digest of its content.

    {"group":"s1","label":"with_mask","subset":"train","path":"data/…/s1_01.png","sha256":"ab12…"}
    {"labels":["cat","dog"],"subset":"train","path":"data/…/000012.jpg","sha256":"cd34…","unsure":["sofa"]}     many labels

Paths inside the workspace are relative to it, others absolute; the digest does not cover them, so a moved data set is the
same split.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit import files, hashing
from toolkit.artifacts.dataset import Split
from toolkit.errors import DataError
from toolkit.workspace import Workspace

SUBSETS = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class Image:
    """One image of a split: `label` is an index into the split's labels, `subset` one of SUBSETS.

    In a set with many labels to an image `labels` has all of them and `label` is the first, or -1 without any.
    """

    path: Path
    sha256: str
    label: int
    subset: str
    group: str | None = None
    labels: tuple[int, ...] | None = None
    unsure: tuple[int, ...] = ()
    """The labels it is not judged for."""

    @property
    def indices(self) -> tuple[int, ...]:
        """Its label, or all of them."""
        return (self.label,) if self.labels is None else self.labels


def split_digest(images: Iterable[Image], labels: Sequence[str]) -> str:
    """What names a split: every image's bytes, label and subset, and the labels; neither paths nor order."""
    entries = sorted([image.sha256, _label_entry(image, labels), image.subset] for image in images)
    return hashing.sha256_json({"labels": list(labels), "images": entries})


def _label_entry(image: Image, labels: Sequence[str]) -> str | list[list[str]]:
    if image.labels is None:
        return labels[image.label]
    return [[labels[index] for index in indices] for indices in (image.labels, image.unsure)]


def count_labels(images: Iterable[Image], labels: Sequence[str]) -> Mapping[str, Mapping[str, int]]:
    """Images per subset and label, one with many in each; a subset or label without images counts 0."""
    counts = Counter((image.subset, index) for image in images for index in image.indices)
    return {subset: {label: counts[subset, index] for index, label in enumerate(labels)} for subset in SUBSETS}


def count_images(images: Sequence[Image]) -> Mapping[str, int]:
    """Images per subset where they have many labels; empty where each has one, as the counts by label say it then."""
    multi_label = any(image.labels is not None for image in images)
    counts = Counter(image.subset for image in images)
    return {subset: counts[subset] for subset in SUBSETS} if multi_label else {}


def sort_images(images: Iterable[Image]) -> tuple[Image, ...]:
    """Train, validation, test; by label and path within each."""
    return tuple(sorted(images, key=lambda image: (SUBSETS.index(image.subset), image.label, str(image.path))))


def write_manifest(images: Sequence[Image], labels: Sequence[str], workspace: Workspace) -> tuple[Path, bool]:
    """Write workspace/splits/DIGEST.jsonl; its path, and whether anything had to be written."""
    path = workspace.folder("splits") / f"{split_digest(images, labels)}.jsonl"
    content = b"".join(_line(image, labels, workspace) for image in images)
    if path.is_file() and path.read_bytes() == content:
        return path, False
    with files.atomic_write(path) as stream:
        stream.write(content)
    return path, True


def read_manifest(split: Split, workspace: Workspace) -> tuple[Image, ...]:
    """The images of `split`: train, validation, test, each by label and path.

    Raises:
        DataError: the manifest is gone, or no longer says what the split's digest says.
    """
    path = workspace.absolute(split.path)
    if not path.is_file():
        raise DataError("the split manifest is missing", where=str(path), remedy="prepare the data again")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        images = tuple(_image(json.loads(line), split.labels, workspace) for line in lines)
        intact = split_digest(images, split.labels) == split.digest
    except (ValueError, KeyError, TypeError):
        intact = False
    if not intact:
        raise DataError(
            "the split manifest was changed", where=str(path), remedy="remove it and prepare the data again"
        )
    return images


def _line(image: Image, labels: Sequence[str], workspace: Workspace) -> bytes:
    path = image.path.absolute()
    root = workspace.root.absolute()
    entry: dict[str, object] = {
        "path": path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path),
        "sha256": image.sha256,
        "subset": image.subset,
    }
    if image.labels is None:
        entry["label"] = labels[image.label]
    else:
        entry["labels"] = [labels[index] for index in image.labels]
        entry["unsure"] = [labels[index] for index in image.unsure]
    if image.group is not None:
        entry["group"] = image.group
    return hashing.canonical_json(entry) + b"\n"


def _image(entry: Mapping[str, Any], labels: Sequence[str], workspace: Workspace) -> Image:
    path = workspace.absolute(entry["path"])
    if "label" in entry:
        return Image(path, entry["sha256"], labels.index(entry["label"]), entry["subset"], entry.get("group"))
    present, unsure = (tuple(labels.index(name) for name in entry[key]) for key in ("labels", "unsure"))
    return with_indices(path, entry["sha256"], present, unsure, entry["subset"], entry.get("group"))


def with_indices(
    path: Path, sha256: str, labels: Iterable[int], unsure: Iterable[int], subset: str, group: str | None = None
) -> Image:
    """An image of a set with many labels."""
    present = tuple(sorted(labels))
    return Image(path, sha256, present[0] if present else -1, subset, group, present, tuple(sorted(unsure)))
