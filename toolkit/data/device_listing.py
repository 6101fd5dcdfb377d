"""Pictures as they are sent to a device: numbered, with a list of them; what they are called here stays here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from toolkit import hashing
from toolkit.data.split_manifest import Picture


def number(pictures: Sequence[Picture], labels: Sequence[str]) -> tuple[Mapping[str, Path], bytes]:
    """Where each file lies, by the name it is sent under; and pictures.json, whose digest names the set."""
    names = [f"{place:06d}{picture.path.suffix.lower()}" for place, picture in enumerate(pictures)]
    entries = [
        {"file": name, "sha256": picture.sha256, **_labels_of(picture, labels)}
        for name, picture in zip(names, pictures, strict=True)
    ]
    listing = hashing.canonical_json({"format": 1, "pictures": entries})
    return dict(zip(names, (picture.path for picture in pictures), strict=True)), listing


def _labels_of(picture: Picture, labels: Sequence[str]) -> Mapping[str, object]:
    if picture.labels is None:
        return {"label": labels[picture.label]}
    held, unsure = ([labels[index] for index in indices] for indices in (picture.labels, picture.unsure))
    return {"labels": held, "unsure": unsure}
