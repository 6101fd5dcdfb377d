"""The data sets of `just bench accuracy`, as folders train, validation and test with a folder for each class.

    masks           2 classes    synthetic masks, three paintings of each face; a person is in one part only
    faces           40 classes   5 images of each person to train on, 1 to validate, 4 to test
    fashion-mnist   10 classes   real images of articles; needs Debian's package dataset-fashion-mnist

A seed draws the training and validation images of masks and Fashion-MNIST, whose test images are always the same; of the
faces it draws all three parts. Wrong labels are among the training and the validation images, never among the test images.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.progress import Silent
from toolkit.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np

FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
VALIDATION = 5
"""One validation image to so many training images."""
TEST_PER_CLASS = 100
"""Of Fashion-MNIST."""
MASK_SEEDS = 3

Pools = Mapping[str, Mapping[str, list["np.ndarray"]]]
"""Images u8 by part and class. There is no validation part where it is drawn from "train"."""


@dataclass(frozen=True, slots=True)
class DataSet:
    """One data set of the benchmark."""

    source: str
    per_class: int
    """Training images of each class."""
    wrong: float = 0.0
    """The share of wrong labels among training and validation images."""

    @property
    def name(self) -> str:
        """For the table."""
        return f"{self.source}-{self.per_class}" + ("-wrong-labels" if self.wrong else "")

    def write(self, folder: Path, seed: int, pools: Pools) -> None:
        """Write the images of one seed."""
        drawn = random.Random(f"{self.source} {seed}")
        parts: dict[str, list[tuple[str, np.ndarray]]] = {"train": [], "validation": [], "test": []}
        held_out = max(1, self.per_class // VALIDATION)
        for label, images in pools["train"].items():
            chosen = drawn.sample(images, len(images))
            left = chosen[self.per_class :] if "test" in pools else chosen[self.per_class : self.per_class + held_out]
            own = pools["validation"][label] if "validation" in pools else left
            rest = drawn.sample(own, min(held_out, len(own)))
            test = pools["test"][label] if "test" in pools else chosen[self.per_class + held_out :]
            for part, some in zip(parts, (chosen[: self.per_class], rest, test), strict=True):
                parts[part] += [(label, image) for image in some]
        labels = sorted(pools["train"])
        for part, examples in parts.items():
            wrong = set(drawn.sample(range(len(examples)), round(self.wrong * len(examples))) if part != "test" else [])
            for index, (label, image) in enumerate(examples):
                shown = drawn.choice([one for one in labels if one != label]) if index in wrong else label
                _save(image, folder / part / shown / f"{index:05}.png")


def read_pools(source: str, workspace: Workspace, fashion_mnist: Path) -> Pools:
    """The images that the sets of a source are drawn from."""
    if source == "fashion-mnist":
        return _fashion_mnist(fashion_mnist)
    return _faces() if source == "faces" else _masks(workspace)


def _faces() -> Pools:
    import cv2
    import numpy as np

    from toolkit.data.formats.faces import fetch_faces

    people: dict[str, list[np.ndarray]] = {}
    for face in fetch_faces(Silent()):
        image = cv2.imdecode(np.frombuffer(face.content, np.uint8), cv2.IMREAD_COLOR)
        assert image is not None, face
        people.setdefault(f"person{face.person:02}", []).append(image)
    return {"train": people}


def _masks(workspace: Workspace) -> Pools:
    import cv2

    from toolkit import data
    from toolkit.data.synthetic_masks.dataset import make_masks
    from toolkit.experiment.schema import DataConfig

    split = data.prepare_dataset(DataConfig(source="synthetic-masks"), workspace.root, workspace, Silent())
    parts = {image.path.name: image.subset for image in data.read_manifest(split, workspace)}
    pools: dict[str, dict[str, list[np.ndarray]]] = {"train": {}, "validation": {}, "test": {}}
    for seed in range(MASK_SEEDS):
        for path in sorted(make_masks(workspace, seed, Silent()).glob("*/*.jpg")):
            image = cv2.imread(str(path))
            assert image is not None, path
            pools[parts[path.name]].setdefault(path.parent.name, []).append(image)
    return pools


def _fashion_mnist(folder: Path) -> Pools:
    def part(prefix: str, most: int) -> dict[str, list[np.ndarray]]:
        by_class: dict[str, list[np.ndarray]] = {}
        for label, image in _pairs(folder, prefix):
            images = by_class.setdefault(f"class{label}", [])
            if len(images) < most:
                images.append(image)
        return by_class

    return {"train": part("train", 1_000), "test": part("t10k", TEST_PER_CLASS)}


def _pairs(folder: Path, prefix: str) -> Iterator[tuple[int, np.ndarray]]:
    from toolkit.data.formats.idx import parse_idx

    images = parse_idx(folder / f"{prefix}-images-idx3-ubyte.gz", 3)
    labels = parse_idx(folder / f"{prefix}-labels-idx1-ubyte.gz", 1)
    yield from zip(labels.tolist(), images, strict=True)


def _save(image: np.ndarray, path: Path) -> None:
    import cv2

    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image)
