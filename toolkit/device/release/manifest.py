"""Read the JSON documents and files of a release: manifest.json of its bundle, release.json, regular files only."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO, Dict, Tuple

from ..errors import DeviceError
from ..layout import MANIFEST, RELEASES
from ..rejection import SCORES
from .store import sha256_stream

MAX_DOCUMENT_BYTES = 16 << 20
"""Size limit of a JSON document that describes a release or bundle."""

SUPPORTED_VALUES: Dict[str, Tuple[object, ...]] = {
    "format": (1,),
    "input.layout": ("NHWC", "NCHW"),
    "input.type": ("u8",),
    "input.color": ("RGB",),
    "input.crop": ("resize", "center"),
    "output.kind": ("softmax", "sigmoid", "multi-sigmoid"),
    "rejection.score": SCORES,
}
"""Values of a manifest that this code supports; missing keys are allowed. Add a new value here, and where `golden`,
`predict` and `samples` depend on it."""


def read_manifest(release: Path) -> Dict[str, Any]:
    """Return the manifest of the bundle in a folder.

    Raises:
        DeviceError: the manifest is missing, not JSON, or has unsupported values; names all of them.
    """
    path = release / MANIFEST
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
    """Return the value at "table.key"; None if it is missing."""
    value: Any = manifest
    for name in key.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def read_json(path: Path) -> Dict[str, Any]:
    """Return the JSON object in a regular file.

    Raises:
        DeviceError: there is none.
    """
    return parse_object(read_regular(path), str(path))


def parse_object(content: bytes, where: str) -> Dict[str, Any]:
    """Return the JSON object in the bytes of a document.

    Raises:
        DeviceError: there is none.
    """
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DeviceError(f"cannot be read: {error}", where=where, remedy="deploy the bundle again") from None
    if not isinstance(value, dict):
        raise DeviceError("is not a JSON object", where=where, remedy="deploy the bundle again")
    return value


def read_regular(path: Path, limit: int = MAX_DOCUMENT_BYTES) -> bytes:
    """Return the bytes of a regular file; links are not followed.

    Raises:
        DeviceError: the file is missing, a link, not a regular file, or larger than `limit` bytes.
    """
    try:
        with open_regular(path) as stream:
            content = stream.read(limit + 1)
    except OSError as error:
        what = "is a link" if error.errno == errno.ELOOP else f"cannot be read: {error.strerror or error}"
        raise DeviceError(what, where=str(path), remedy="deploy the bundle again") from None
    if len(content) > limit:
        raise DeviceError(f"has more than {limit} bytes", where=str(path), remedy="deploy the bundle again")
    return content


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading. Raises OSError for links (ELOOP) and other kinds of files."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "is not a regular file", str(path))
    return os.fdopen(handle, "rb")


def root_of(release: Path) -> Path:
    """Return ROOT of ROOT/releases/<digest>; for a bare bundle, its parent folder."""
    above = release.resolve().parent
    return above.parent if above.name == RELEASES else above


def sha256_regular(path: Path, expected_size: Any) -> Tuple[int, str]:
    """Return the size and SHA-256 of a regular file; the digest is empty if the size is not the expected one.

    Raises:
        OSError: the file is missing, a link or not a regular file.
    """
    with open_regular(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        return size, sha256_stream(stream) if size == expected_size else ""


def is_multi_label(manifest: Dict[str, Any]) -> bool:
    """Return whether the model is multi-label: each label has its own probability."""
    return bool(manifest.get("output", {}).get("kind") == "multi-sigmoid")


def input_size(manifest: Dict[str, Any]) -> Tuple[int, int]:
    """Return the height and width of the input in pixels."""
    return manifest["input"]["height"], manifest["input"]["width"]
