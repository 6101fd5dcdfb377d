"""Images of a benchmark run and their order, determined by the seed and the number of images.

A speed run draws with replacement from a pool of at most POOL images, so that images decoded in advance (if decoding is
not timed) fit into the memory of a small device. Every LOG_EVERY-th of its first queries is logged; the accuracy pass
logs the same images, and the two must agree. `random.Random.random` returns the same numbers in every Python version.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, Sequence, Tuple, Union

from ..errors import DeviceError
from ..release.manifest import read_json

POOL = 256
LOG_EVERY = 8
LOG_AT_MOST = 64
METHOD = "random.Random(seed): shuffle to a pool of at most 256, then floor(random() * pool), with replacement"


@dataclass(frozen=True)
class LabeledImage:
    """An image of the set; `label` is the index of a label, or for multi-label models the sum of 2^index."""

    path: Path
    sha256: str
    label: int
    unsure: int = 0
    """Labels that are not scored for this image, as the sum of 2^index."""
    multi_label: bool = False


@dataclass(frozen=True)
class ImageSet:
    """The images of a folder with an images.json; `digest` is the digest of that file."""

    images: Tuple[LabeledImage, ...]
    digest: str


def read_image_set(folder: Path, labels: Sequence[str]) -> ImageSet:
    """Return the set described by folder/images.json, which gives a label by name or index, and several by names.

    Raises:
        DeviceError: the file is missing, names no image, or names a label that the bundle does not have.
    """
    path = folder / "images.json"
    entries = read_json(path).get("images")
    if not entries:
        raise DeviceError("names no image", where=str(path))
    images = tuple(_labeled_image(entry, labels, path) for entry in entries)
    return ImageSet(images, hashlib.sha256(path.read_bytes()).hexdigest())


def _labeled_image(entry: Dict[str, Any], labels: Sequence[str], path: Path) -> LabeledImage:
    def index(label: Union[str, int]) -> int:
        return _index(label, labels, f"{path}: {entry['file']}")

    file, sha256 = path.parent / entry["file"], entry["sha256"]
    if "labels" not in entry:
        return LabeledImage(file, sha256, index(entry["label"]))
    held, unsure = (label_bitmask(map(index, entry[key])) for key in ("labels", "unsure"))
    return LabeledImage(file, sha256, held, unsure, multi_label=True)


def label_bitmask(indices: Iterable[int]) -> int:
    """Return a set of labels as the sum of 2^index."""
    return sum(1 << index for index in indices)


def _index(label: Union[str, int], labels: Sequence[str], where: str) -> int:
    if isinstance(label, int) and 0 <= label < len(labels):
        return label
    if label in labels:
        return labels.index(str(label))
    raise DeviceError(f'the bundle has no label "{label}"', where=where)


class SampleOrder:
    """The endless order of a speed run over `count` images."""

    def __init__(self, seed: int, count: int) -> None:
        chooser = random.Random(f"pool {seed}")  # noqa: S311 - must be repeatable, not secret
        self.pool = _shuffled(chooser, count)[:POOL]
        self._seed = seed

    def __iter__(self) -> Iterator[int]:
        """Yield indices into the whole set."""
        chooser = random.Random(f"order {self._seed}")  # noqa: S311 - see above
        while True:
            yield self.pool[int(chooser.random() * len(self.pool))]

    def first(self, queries: int) -> List[int]:
        """Return the images of the first queries."""
        return list(itertools.islice(self, queries))

    def logged(self) -> List[int]:
        """Return the images whose answers the accuracy pass logs, for a speed run of any length."""
        return sorted(set(self.first(LOG_EVERY * LOG_AT_MOST)[::LOG_EVERY]))

    def facts(self, queries: int) -> Dict[str, Any]:
        """Return the fields of a record that reproduce and identify this order."""
        drawn = json.dumps(self.first(queries), separators=(",", ":")).encode()
        return {
            "method": METHOD,
            "seed": self._seed,
            "pool": len(self.pool),
            "sha256": hashlib.sha256(drawn).hexdigest(),
        }


def _shuffled(chooser: random.Random, count: int) -> List[int]:
    """Return all indices in a random order that depends only on `random()`."""
    keys = [chooser.random() for _ in range(count)]
    return sorted(range(count), key=keys.__getitem__)


def is_logged(query: int) -> bool:
    """Return whether a speed run logs the answer to this query, counted from 0."""
    return query % LOG_EVERY == 0 and query < LOG_EVERY * LOG_AT_MOST
