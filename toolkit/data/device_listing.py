"""Images for a device: numbered copies with a listing, so that their original names stay on the controller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from toolkit import hashing
from toolkit.data.split_manifest import Image


def build_device_listing(images: Sequence[Image], labels: Sequence[str]) -> tuple[Mapping[str, Path], bytes]:
    """Where each file lies, by the name it is sent under; and images.json, whose digest names the set."""
    names = [f"{place:06d}{image.path.suffix.lower()}" for place, image in enumerate(images)]
    entries = [
        {"file": name, "sha256": image.sha256, **_labels_of(image, labels)}
        for name, image in zip(names, images, strict=True)
    ]
    listing = hashing.canonical_json({"format": 1, "images": entries})
    return dict(zip(names, (image.path for image in images), strict=True)), listing


def _labels_of(image: Image, labels: Sequence[str]) -> Mapping[str, object]:
    if image.labels is None:
        return {"label": labels[image.label]}
    held, unsure = ([labels[index] for index in indices] for indices in (image.labels, image.unsure))
    return {"labels": held, "unsure": unsure}
