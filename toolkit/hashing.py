"""SHA-256 digests of bytes, files and JSON values: the names of all artifacts."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path


def sha256_bytes(content: bytes) -> str:
    """The digest of `content`."""
    return hashlib.sha256(content).hexdigest()


def sha256_file(path: Path) -> str:
    """The digest of a file's content, read in chunks."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def canonical_json(value: object) -> bytes:
    """One way to write `value`: sorted keys, no spaces, UTF-8, no NaN; the same value is always the same bytes."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def sha256_json(value: object) -> str:
    """The digest of a JSON-like value."""
    return sha256_bytes(canonical_json(value))
