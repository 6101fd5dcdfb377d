"""Captures: images of devices, collected to be labeled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturedImage:
    """One captured image. Its JPEG is `captures/<digest>.jpg` in the workspace."""

    digest: str
    """SHA-256 of the JPEG."""
    parent: str
    """The release whose model answered: the name of its folder on the device, which is its digest."""
    device: str
    """The inventory's name of the device that it came from; the first one, where several have the same image."""
    camera: str
    time: str
    """When the device captured it, UTC, ISO 8601, by its own clock."""
    clock_synchronized: bool
    """Whether that clock was set over the network then."""
    policy: str
    """One of "unsure", "change", "unknown", "random" (one frame in N: the only fair sample), "requested"."""
    label: str
    """The model's most probable class."""
    confidence: float
    """Its probability."""
    probabilities: tuple[float, ...]
    """Of each class, in the order of the bundle's labels."""
    score: float | None
    """Rejection score, higher for surer answers; None if the bundle has no rule for unknown images."""
    perceptual_hash: int | None
    """See toolkit.data.near_duplicates; None for an image without contrast."""
    collected_at: str
    """When it was stored here, UTC, ISO 8601."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NearDuplicate:
    """A captured image that was not stored, since one that looks the same was; it is not fetched again."""

    digest: str
    parent: str
    """The digest of the capture that it looks like."""
    device: str
    collected_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraReading:
    """What drift detection on a device said of its camera when its captures were collected."""

    digest: str
    parent: str
    """The release that it served."""
    device: str
    name: str
    """Of the bundle."""
    at: str
    """UTC, ISO 8601."""
    frames: int
    """Frames behind the means; older ones fade."""
    means: Mapping[str, float] = field(default_factory=dict, hash=False)
    """By signal: brightness, contrast, sharpness in levels of 0…255; distance, 1 being that of a usual training image;
    confidence 0…1."""
    classes: Mapping[str, float] = field(default_factory=dict, hash=False)
    """The share of frames by answer."""
    raised: tuple[str, ...] = ()
    """Signals that drifted from the camera's own past."""
    learned: float = 0.0
    """Part of the reference of that past that is complete, 0…1."""
