"""Bundles to measure: their test images, tolerances and reference accuracy, from their manifests."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit import hashing
from toolkit.artifacts.bundle import Bundle, IrModel
from toolkit.artifacts.dataset import Split
from toolkit.artifacts.model import TrainedModel
from toolkit.bench.plan import BenchTarget
from toolkit.bundle.release import release_tree
from toolkit.data import Image, read_manifest
from toolkit.data.device_listing import build_device_listing
from toolkit.device.layout import MANIFEST
from toolkit.errors import DataError
from toolkit.fleet.transfer.tree import FileTree, build_tree
from toolkit.store import Store
from toolkit.workspace import Workspace


@dataclass(frozen=True, slots=True)
class BenchImages:
    """Images as sent to devices: numbered, with an images.json whose digest identifies the set."""

    digest: str
    tree: FileTree
    sources: Mapping[str, Path | bytes]


@dataclass(frozen=True, slots=True)
class PreparedTarget:
    """A target with the files that go to the device."""

    target: BenchTarget
    folder: Path
    release: FileTree
    images: BenchImages


def prepare_target(bundle: Bundle, split: Split | None, workspace: Workspace, store: Store) -> PreparedTarget:
    """Read and check a bundle; its images are the test subset of `split`, by default of the one it was trained on.

    Raises:
        BundleError: its bytes differ from its manifest.
        DataError: the split, or its images, are not in this workspace.
    """
    folder = workspace.absolute(bundle.path)
    release = release_tree(folder)
    manifest = json.loads((folder / MANIFEST).read_bytes())
    split = split or _split(manifest, folder, store)
    test = [image for image in read_manifest(split, workspace) if image.subset == "test"]
    if not test:
        raise DataError("has no test images", where=split.name, remedy="prepare the data with a test part")
    images = build_image_set(test, split.labels)
    target = BenchTarget(
        bundle=release.parent,
        name=manifest["name"],
        release=release.digest,
        tolerance=manifest["golden"]["tolerance"],
        images=images.digest,
        reference_accuracy=_reference(manifest, split, len(test)),
    )
    return PreparedTarget(target, folder, release, images)


def find_bundles(experiment: str, store: Store) -> tuple[Bundle, ...]:
    """Every bundle of every model that was trained for the experiment of that name, oldest first."""
    models = (model for model in store.all(TrainedModel) if model.experiment == experiment)
    irs = (ir for model in models for ir in store.all(IrModel, parent=model.digest))
    return tuple(bundle for ir in irs for bundle in store.all(Bundle, parent=ir.digest))


def _split(manifest: Mapping[str, Any], folder: Path, store: Store) -> Split:
    split = store.get(Split, manifest["lineage"]["split"])
    if split is None:
        raise DataError(
            "the split that it was trained on is not in this workspace",
            where=str(folder),
            remedy="use the workspace that the bundle was made in",
        )
    return split


def _reference(manifest: Mapping[str, Any], split: Split, images: int) -> float | None:
    """Return the accuracy before conversion, if measured on the same images; for multi-label models, the micro F1."""
    parity = manifest.get("parity") or {}
    same = manifest["lineage"]["split"] == split.digest and parity.get("images") == images
    return parity.get("reference_micro_f1", parity["reference_accuracy"]) if same else None


def build_image_set(images: Sequence[Image], labels: Sequence[str]) -> BenchImages:
    """Return the images by their names on the device, and the list of them."""
    files, listing = build_device_listing(images, labels)
    sources: dict[str, Path | bytes] = {**files, "images.json": listing}
    return BenchImages(hashing.sha256_bytes(listing), build_tree(sources), sources)
