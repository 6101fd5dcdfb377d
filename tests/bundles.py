"""What tests that make bundles have in common."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from toolkit import hashing


def sealed(folder: Path, manifest: Mapping[str, object]) -> Path:
    """The bundle in the folder with that manifest, named by its digest as all bundles are."""
    content = hashing.canonical_json(manifest)
    (folder / "manifest.json").write_bytes(content)
    return folder.rename(folder.with_name(hashing.sha256_bytes(content)))
