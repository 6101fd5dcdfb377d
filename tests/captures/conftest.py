"""Captures on devices of the local fleet, which are folders of this machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.device.test_capture_record import RECORD
from toolkit.artifacts.fleet import Device

Put = Callable[..., str]


def jpeg(seed: int, quality: int = 90, size: int = 64) -> bytes:
    """Return a photo-like image: smooth blobs, other ones for each seed."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    image = cv2.resize(small, (size, size), interpolation=cv2.INTER_CUBIC)
    return bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1])


@pytest.fixture
def put() -> Put:
    """put(device, seed or bytes, **fields of the JSON): the digest of a capture that the device now has."""

    def call(device: Device, image: int | bytes, **fields: Any) -> str:
        content = jpeg(image) if isinstance(image, int) else image
        digest = hashlib.sha256(content).hexdigest()
        folder = Path(device.root) / "captures" / "2026-11-30"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{digest}.jpg").write_bytes(content)
        document = {**json.loads(RECORD.to_json()), "digest": digest, **fields}
        (folder / f"{digest}.json").write_text(json.dumps(document))
        return digest

    return call
