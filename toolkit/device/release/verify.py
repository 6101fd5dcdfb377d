"""Every byte of a release against the digests that it was released with, and the signature if this device asks for one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional

from ..errors import DeviceEnvironmentError, DeviceError
from .manifest import read_json, sha256_file
from .signature import allowed_signers, check_signature

Files = Dict[str, Dict[str, Any]]


def verify(release: Path) -> Dict[str, Any]:
    """Every digest of release.json and manifest.json against the bytes: {"ok", "problems": [what is wrong, by file], "signature"}.

    A bare bundle, which has no release.json, is held against its manifest alone. "signature" is what `check_signature` found,
    None if it was refused.

    Raises:
        DeviceEnvironmentError: this device asks for a signature and has no ssh-keygen.
    """
    bad: List[str] = []
    signature = _check_signature(release, bad)
    files = _listed_files(release, "manifest.json", bad)
    if (release / "release.json").exists():
        files = {**files, **_listed_files(release, "release.json", bad)}
        bad += _lineage(release)
        bad += _unlisted_files(release, files)
    bad += [problem for path, entry in sorted(files.items()) for problem in _check_file(release, path, entry)]
    return {"ok": not bad, "problems": bad, "files": len(files), "signature": signature}


def require_trusted(release: Path) -> None:
    """Where this device asks for signatures, see that the release is whole and signed; elsewhere do nothing.

    Whatever runs a release's model calls this first.

    Raises:
        DeviceError: it is not; names everything that is wrong.
        DeviceEnvironmentError: there is no ssh-keygen.
    """
    if allowed_signers(release) is None:
        return
    bad = verify(release)["problems"]
    if bad:
        remedy = "deploy a bundle that a signer of this device's allowed_signers has signed"
        raise DeviceError(
            f"this device runs only what is whole and signed: {'; '.join(bad)}", where=str(release), remedy=remedy
        )


def _check_signature(release: Path, bad: List[str]) -> Optional[Dict[str, Any]]:
    try:
        return check_signature(release)
    except DeviceEnvironmentError:
        raise
    except DeviceError as error:
        bad.append(f"{Path(error.where).name}: {error.what}")
        return None


def _listed_files(release: Path, name: str, bad: List[str]) -> Files:
    try:
        files = read_json(release / name).get("files")
    except DeviceError as error:
        bad.append(f"{name}: {error.what}")
        return {}
    if not isinstance(files, dict) or not all(isinstance(entry, dict) for entry in files.values()):
        bad.append(f"{name}: names no files")
        return {}
    return files


def _check_file(release: Path, path: str, entry: Dict[str, Any]) -> Iterator[str]:
    place = release / path
    if path.startswith("/") or ".." in path.split("/"):
        yield f"{path}: leads out of the release"
    elif not place.is_file():
        yield f"{path}: is missing"
    elif place.stat().st_size != entry.get("size_bytes"):
        yield f"{path}: has {place.stat().st_size} bytes, not {entry.get('size_bytes')}"
    elif sha256_file(place) != entry.get("sha256"):
        yield f"{path}: its bytes are not those that were released (sha256 differs)"


def _lineage(release: Path) -> Iterator[str]:
    """The folder is named by release.json's digest, and release.json names the manifest's."""
    own = sha256_file(release / "release.json")
    folder = release.resolve().name
    if len(folder) == len(own) and folder != own:
        yield "release.json: its digest is not the folder's name"
    manifest = release / "manifest.json"
    try:
        named = read_json(release / "release.json").get("bundle")
    except DeviceError:
        return
    if manifest.is_file() and named != sha256_file(manifest):
        yield "manifest.json: is not the bundle that release.json names"


def _unlisted_files(release: Path, files: Files) -> Iterator[str]:
    """Files that nobody named; byte code that Python leaves behind is none of them."""
    for path in sorted(place.relative_to(release).as_posix() for place in release.rglob("*") if not place.is_dir()):
        if path not in files and path != "release.json" and "__pycache__" not in path.split("/"):
            yield f"{path}: is not part of the release"
