"""A release as it lies on a device: a bundle's files, this code, and release.json that names every byte."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Dict, Tuple

from ..errors import DeviceError

SUPPORTED_VALUES: Dict[str, Tuple[object, ...]] = {
    "format": (1,),
    "input.layout": ("NHWC", "NCHW"),
    "input.type": ("u8",),
    "input.color": ("RGB",),
    "input.crop": ("resize", "center"),
    "output.kind": ("softmax", "sigmoid", "multi-sigmoid"),
}
"""What this code can make sense of in a manifest; what a manifest leaves out is not asked for. A new kind is added here, and
where `golden`, `predict` and `samples` decide by it."""


def read_manifest(release: Path) -> Dict[str, Any]:
    """The bundle's manifest.

    Raises:
        DeviceError: it is missing, not JSON, or says something that this code does not know; all of that is named.
    """
    path = release / "manifest.json"
    manifest = read_json(path)
    unknown = [
        f'{key} is "{_lookup(manifest, key)}"'
        for key, values in SUPPORTED_VALUES.items()
        if _lookup(manifest, key) not in (None, *values)
    ]
    if unknown:
        raise DeviceError(
            f"this device code does not know what to do with it: {', '.join(unknown)}",
            where=str(path),
            remedy="deploy the bundle with the toolkit that made it, or a newer one",
        )
    return manifest


def _lookup(manifest: Dict[str, Any], key: str) -> Any:
    """The value at "table.key"; None where there is none."""
    value: Any = manifest
    for name in key.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def read_json(path: Path) -> Dict[str, Any]:
    """The JSON object in a file.

    Raises:
        DeviceError: there is none.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DeviceError(f"cannot be read: {error}", where=str(path), remedy="deploy the bundle again") from None
    if not isinstance(content, dict):
        raise DeviceError("is not a JSON object", where=str(path), remedy="deploy the bundle again")
    return content


def root_of(release: Path) -> Path:
    """Where releases live: ROOT of ROOT/releases/<digest>; for a bare bundle the folder it lies in."""
    above = release.resolve().parent
    return above.parent if above.name == "releases" else above


def sha256_file(path: Path) -> str:
    """SHA-256 of a file in lower-case hex, read in chunks."""
    total = hashlib.sha256()
    with path.open("rb") as stream:
        for chunk in iter(lambda: stream.read(1 << 20), b""):
            total.update(chunk)
    return total.hexdigest()


def is_multi_label(manifest: Dict[str, Any]) -> bool:
    """Whether an image may have several labels, or none: each has a probability of its own."""
    return bool(manifest.get("output", {}).get("kind") == "multi-sigmoid")


def input_size(manifest: Dict[str, Any]) -> Tuple[int, int]:
    """Height and width in pixels."""
    return manifest["input"]["height"], manifest["input"]["width"]
