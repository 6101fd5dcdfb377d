"""Verify every byte of a release against its digests, and the signature if this device requires one.

manifest.json, which is signed, and release.json each list files. Each listing is checked by itself; neither overrides
the other. A contradiction, a file that no listing names (byte code included) and a link are errors.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional

from ..errors import DeviceEnvironmentError, DeviceError
from ..layout import CONTAINER_IMAGE, DEVICE_CODE, MANIFEST, MANIFEST_SIGNATURE, RELEASE
from .manifest import parse_object, read_regular, sha256_regular
from .signature import allowed_signers, check_signature

RELEASE_FILES = (MANIFEST, MANIFEST_SIGNATURE, CONTAINER_IMAGE)
"""Files of a release besides the bundle's and the device code."""
Files = Dict[str, Dict[str, Any]]


def verify(release: Path) -> Dict[str, Any]:
    """Return {"ok", "problems", "files", "signature"}; each problem begins with the path of a file.

    A bare bundle, which has no release.json, is checked against its manifest alone. "signature" is the result of
    `check_signature`, or None if it failed.

    Raises:
        DeviceEnvironmentError: this device requires a signature and has no ssh-keygen.
    """
    problems: List[str] = []
    signature = _check_signature(release, problems)
    listings = {MANIFEST: _listed_files(release, MANIFEST, problems)}
    if os.path.lexists(release / RELEASE):
        listings[RELEASE] = _listed_files(release, RELEASE, problems)
        problems += _lineage(release)
        problems += _contradictions(listings[MANIFEST], listings[RELEASE])
    listed = {path: entry for files in listings.values() for path, entry in files.items()}
    unlisted_names = {RELEASE} if RELEASE in listings else {MANIFEST, MANIFEST_SIGNATURE}
    problems += _unlisted(release, {*listed, *unlisted_names})
    for files in listings.values():
        problems += [problem for path, entry in sorted(files.items()) for problem in _check_file(release, path, entry)]
    unique = list(dict.fromkeys(problems))
    return {"ok": not unique, "problems": unique, "files": len(listed), "signature": signature}


def require_trusted(release: Path) -> None:
    """Check that the release is intact and signed, if this device requires signatures; otherwise do nothing.

    Called before the model of a release is loaded.

    Raises:
        DeviceError: the release is changed or not signed; names every problem.
        DeviceEnvironmentError: ssh-keygen is not installed.
    """
    if allowed_signers(release) is None:
        return
    problems = verify(release)["problems"]
    if problems:
        remedy = "deploy a bundle that a signer of this device's allowed_signers has signed"
        raise DeviceError(
            f"this device runs only intact, signed releases: {'; '.join(problems)}", where=str(release), remedy=remedy
        )


def _check_signature(release: Path, problems: List[str]) -> Optional[Dict[str, Any]]:
    try:
        return check_signature(release)
    except DeviceEnvironmentError:
        raise
    except DeviceError as error:
        problems.append(f"{Path(error.where).name}: {error.what}")
        return None


def _listed_files(release: Path, name: str, problems: List[str]) -> Files:
    try:
        files = parse_object(read_regular(release / name), str(release / name)).get("files")
    except DeviceError as error:
        problems.append(f"{name}: {error.what}")
        return {}
    if not isinstance(files, dict) or not all(isinstance(entry, dict) for entry in files.values()):
        problems.append(f"{name}: names no files")
        return {}
    return files


def _contradictions(bundle: Files, release: Files) -> Iterator[str]:
    """Yield contradictions between release.json, which may be unsigned, and the bundle's manifest."""
    for path, entry in sorted(bundle.items()):
        other = release.get(path)
        if other is None:
            yield f"{path}: {RELEASE} does not name this file of the bundle"
        elif any(other.get(key) != entry.get(key) for key in ("sha256", "size_bytes")):
            yield f"{path}: {RELEASE} contradicts {MANIFEST}"
    for path in sorted({*release} - {*bundle, *RELEASE_FILES}):
        if not path.startswith(f"{DEVICE_CODE}/"):
            yield f"{path}: is part of neither the bundle nor the device code"


def _check_file(release: Path, path: str, entry: Dict[str, Any]) -> Iterator[str]:
    if path.startswith("/") or {"", ".", ".."} & {*path.split("/")}:
        yield f"{path}: leads out of the release"
        return
    try:
        size, digest = sha256_regular(release / path, entry.get("size_bytes"))
    except FileNotFoundError:
        yield f"{path}: is missing"
        return
    except OSError as error:
        yield f"{path}: cannot be read: {error.strerror or error}"
        return
    except ValueError:  # a NUL byte, or half of a surrogate pair
        yield f"{path!a}: is not the name of a file"
        return
    if size != entry.get("size_bytes"):
        yield f"{path}: has {size} bytes, not {entry.get('size_bytes')}"
    elif digest != entry.get("sha256"):
        yield f"{path}: its bytes are not the released ones (SHA-256 differs)"


def _lineage(release: Path) -> Iterator[str]:
    """Yield an error unless the folder is named by the digest of release.json, and that names the manifest's digest."""
    try:
        content = read_regular(release / RELEASE)
        named = parse_object(content, RELEASE).get("bundle")
        manifest = read_regular(release / MANIFEST)
    except DeviceError:
        return
    folder, digest = release.resolve().name, hashlib.sha256(content).hexdigest()
    if len(folder) == len(digest) and folder != digest:
        yield f"{RELEASE}: its digest is not the folder's name"
    if named != hashlib.sha256(manifest).hexdigest():
        yield f"{MANIFEST}: is not the bundle that {RELEASE} names"


def _unlisted(release: Path, listed: "set[str]") -> Iterator[str]:
    """Yield files that no listing names, and links, which are never followed."""
    unreadable: List[OSError] = []
    for folder, folders, files in os.walk(release, onerror=unreadable.append):
        for name in sorted((*folders, *files)):
            place = Path(folder, name)
            path, mode = place.relative_to(release).as_posix(), place.lstat().st_mode
            if stat.S_ISLNK(mode):
                yield f"{path}: is a link"
            elif not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
                yield f"{path}: is not a regular file"
            elif not stat.S_ISDIR(mode) and path not in listed:
                yield f"{path}: is not part of the release"
    yield from (f"{error.filename}: cannot be read: {error.strerror}" for error in unreadable)
