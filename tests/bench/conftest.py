"""A workspace with a split and the tiny bundle in it, as if both had been made there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from toolkit import hashing
from toolkit.artifacts.bundle import Bundle
from toolkit.artifacts.dataset import Split
from toolkit.bench import BenchSpec
from toolkit.data.split_manifest import Image, count_labels, sort_images, split_digest, write_manifest
from toolkit.store import Store
from toolkit.workspace import Workspace

from ..bundles import sealed

LABELS = ("dark", "light")


@dataclass
class BenchSetup:
    """What the bench is called with."""

    workspace: Workspace
    store: Store
    split: Split
    bundle: Bundle
    spec: BenchSpec


@pytest.fixture
def setup(workspace: Workspace, tiny_bundle: Path) -> Iterator[BenchSetup]:
    with Store(workspace.database) as store:
        split = drawn_split(workspace)
        bundle = adopted(tiny_bundle, split, workspace)
        store.put(split)
        store.put(bundle)
        spec = BenchSpec(seconds=0.2, queries=64, precision="f32")
        yield BenchSetup(workspace, store, split, bundle, spec)


def drawn_split(workspace: Workspace, each: int = 6) -> Split:
    """Dark and light noise; names with a space and an umlaut, which no device ever sees."""
    chooser = np.random.default_rng(3)
    images = []
    for part in ("train", "test"):
        for label, name in enumerate(LABELS):
            for number in range(each):
                path = workspace.folder("data", "drawn", name) / f"{part} ü{number}.png"
                pixels = (chooser.integers(0, 120, (40, 36, 3)) + 130 * label).astype(np.uint8)
                path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
                images.append(Image(path, hashing.sha256_file(path), label, part))
    ordered = sort_images(images)
    path, _ = write_manifest(ordered, LABELS, workspace)
    return Split(
        digest=split_digest(ordered, LABELS),
        name="drawn",
        labels=LABELS,
        counts=count_labels(ordered, LABELS),
        path=workspace.relative(path),
    )


def adopted(tiny_bundle: Path, split: Split, workspace: Workspace) -> Bundle:
    """The tiny bundle with this split in its lineage, and the parity that its makers would have found."""
    part = workspace.folder("bundles") / "part"
    shutil.copytree(tiny_bundle, part)
    manifest = json.loads((part / "manifest.json").read_bytes())
    manifest["lineage"]["split"] = split.digest
    manifest["parity"] = {"images": 12, "reference_accuracy": 1.0}
    folder = sealed(part, manifest)
    return Bundle(
        digest=folder.name,
        parent=manifest["lineage"]["ir"],
        name=manifest["name"],
        precision="fp32",
        target="cpu",
        path=workspace.relative(folder),
        size_bytes=sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
    )
