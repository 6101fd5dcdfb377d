"""The records of captures: reading a device's JSON, and where images and records are in the workspace."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from toolkit.artifacts.captured_image import CapturedImage
from toolkit.device.capture_record import IMAGE_SUFFIX, is_digest, read_record
from toolkit.store import Store
from toolkit.workspace import Workspace

FOLDER = "captures"


def image_path(workspace: Workspace, digest: str) -> Path:
    """Return where the JPEG of a capture is stored.

    Raises:
        ValueError: the digest is not a SHA-256 in hex.
    """
    if not is_digest(digest):
        raise ValueError(f"not a digest: {digest!r}")
    return workspace.root / FOLDER / f"{digest}{IMAGE_SUFFIX}"


def collected(store: Store) -> tuple[CapturedImage, ...]:
    """Return all captures of the workspace, in the order in which they were collected."""
    return store.all(CapturedImage)


def present(store: Store, workspace: Workspace) -> tuple[CapturedImage, ...]:
    """Return the collected captures whose image was not deleted since."""
    return tuple(capture for capture in collected(store) if image_path(workspace, capture.digest).is_file())


def parse_sidecar(content: bytes, digest: str, device: str, perceptual_hash: int | None = None) -> CapturedImage:
    """Return the capture that a device's JSON describes; `digest` is that of the JPEG that came with it.

    Raises:
        ValueError: the JSON is not valid; names the field.
    """
    record = read_record(content, digest)
    return CapturedImage(
        digest=digest,
        parent=record.release,
        device=device,
        camera=record.camera,
        time=record.time,
        clock_synchronized=record.clock_synchronized,
        policy=record.policy,
        label=record.label,
        confidence=record.confidence,
        probabilities=record.probabilities,
        score=record.score,
        perceptual_hash=perceptual_hash,
        collected_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
