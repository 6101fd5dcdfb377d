"""Verify a bundle against its manifest; every fault is reported with its file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from toolkit import compat, hashing
from toolkit.device.layout import MANIFEST, MANIFEST_SIGNATURE, MODEL_IR, MODEL_TFLITE, MODEL_WEIGHTS
from toolkit.errors import BundleError, Problem

FORMAT = 1

_SHAPE: Mapping[str, type] = {
    "name": str,
    "precision": str,
    "target": str,
    "labels": list,
    "input": dict,
    "output": dict,
    "golden": dict,
    "lineage": dict,
    "versions": dict,
    "parity": dict,
    "files": dict,
}
_NEEDED_FILES = ("labels.txt", "golden/inputs.npy", "golden/outputs.npy")
_REMEDY = "create it again with `toolkit convert`, or copy it again from its source"


def verify_bundle(folder: Path) -> dict[str, Any]:
    """Return the manifest of the bundle in `folder`, after verifying all bytes against it.

    A folder whose name is a digest must be named by its manifest's: this covers the manifest itself.

    Raises:
        BundleError: with every missing, extra and changed file, or what is wrong with the manifest.
    """
    manifest = _read(folder)
    problems = [*_misnamed(folder), *_malformed(folder, manifest)]
    if not problems:
        problems = [*_changed(folder, manifest["files"]), *_extra(folder, manifest["files"])]
    if problems:
        raise BundleError.from_problems(problems)
    return manifest


def model_files(target: str) -> tuple[str, ...]:
    """Return the names of a bundle's model files; a target that this toolkit does not know is taken for OpenVINO's."""
    known = compat.known().targets.get(target)
    return (MODEL_TFLITE,) if known is not None and known.runtime == "litert" else (MODEL_IR, MODEL_WEIGHTS)


def _read(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise BundleError("is missing: not a bundle", where=str(path), remedy=_REMEDY) from None
    except (ValueError, RecursionError) as error:
        raise BundleError(f"is not JSON: {error}", where=str(path), remedy=_REMEDY) from None
    if not isinstance(manifest, dict):
        raise BundleError("is not a JSON object", where=str(path), remedy=_REMEDY)
    return manifest


def _misnamed(folder: Path) -> Iterator[Problem]:
    name = folder.resolve().name
    if re.fullmatch(r"[0-9a-f]{64}", name) and hashing.sha256_file(folder / MANIFEST) != name:
        yield Problem("its digest is not the bundle's: it was changed", str(folder / MANIFEST), _REMEDY)


def _malformed(folder: Path, manifest: Mapping[str, Any]) -> Iterator[Problem]:
    path = str(folder / MANIFEST)
    if manifest.get("format") != FORMAT:
        yield Problem(f"format is {manifest.get('format')!r}; this toolkit reads {FORMAT}", path, _REMEDY)
    for key, kind in _SHAPE.items():
        if not isinstance(manifest.get(key), kind):
            yield Problem(f"{key} is missing or is not a {kind.__name__}", path, _REMEDY)
    files = manifest.get("files")
    if not isinstance(files, dict):
        return
    for name in (*model_files(str(manifest.get("target"))), *_NEEDED_FILES):
        if name not in files:
            yield Problem(f"files does not name {name}", path, _REMEDY)
    for name, entry in files.items():
        if not isinstance(entry, dict) or not {"sha256", "size_bytes"} <= entry.keys():
            yield Problem(f"files.{name} has no sha256 or size_bytes", path, _REMEDY)
        if Path(name).is_absolute() or ".." in Path(name).parts:
            yield Problem(f"files.{name} is outside the bundle", path, _REMEDY)


def _changed(folder: Path, files: Mapping[str, Mapping[str, Any]]) -> Iterator[Problem]:
    for name, entry in sorted(files.items()):
        path = folder / name
        if not path.is_file():
            yield Problem("is missing from the bundle", str(path), _REMEDY)
        elif path.stat().st_size != entry["size_bytes"]:
            size = path.stat().st_size
            yield Problem(f"has {size} bytes; the manifest says {entry['size_bytes']}", str(path), _REMEDY)
        elif hashing.sha256_file(path) != entry["sha256"]:
            yield Problem("its bytes are not those in the manifest (SHA-256 differs)", str(path), _REMEDY)


def _extra(folder: Path, files: Mapping[str, Any]) -> Iterator[Problem]:
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            yield Problem("is a symbolic link", str(path), "put the file itself there")
        elif not path.is_dir() and name not in {MANIFEST, MANIFEST_SIGNATURE, *files}:
            yield Problem("is not in the manifest", str(path), "remove it")
