"""Every byte of a release against the digests that it was released with, and the signature if this device asks for one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional

from ..errors import EnvironmentFailure, Failure
from .manifest import digest_of, read_json
from .signature import allowed_signers, check_signature

Files = Dict[str, Dict[str, Any]]


def verify(release: Path) -> Dict[str, Any]:
    """Every digest of release.json and manifest.json against the bytes: {"ok", "bad": [what is wrong, by file], "signature"}.

    A bare bundle, which has no release.json, is held against its manifest alone. "signature" is what `check_signature` found,
    None if it was refused.

    Raises:
        EnvironmentFailure: this device asks for a signature and has no ssh-keygen.
    """
    bad: List[str] = []
    signature = _signature(release, bad)
    files = _files(release, "manifest.json", bad)
    if (release / "release.json").exists():
        files = {**files, **_files(release, "release.json", bad)}
        bad += _lineage(release)
        bad += _strangers(release, files)
    bad += [problem for path, entry in sorted(files.items()) for problem in _check(release, path, entry)]
    return {"ok": not bad, "bad": bad, "files": len(files), "signature": signature}


def require_trusted(release: Path) -> None:
    """Where this device asks for signatures, see that the release is whole and signed; elsewhere do nothing.

    Whatever runs a release's model calls this first.

    Raises:
        Failure: it is not; names everything that is wrong.
        EnvironmentFailure: there is no ssh-keygen.
    """
    if allowed_signers(release) is None:
        return
    bad = verify(release)["bad"]
    if bad:
        remedy = "deploy a bundle that a signer of this device's allowed_signers has signed"
        raise Failure(
            f"this device runs only what is whole and signed: {'; '.join(bad)}", where=str(release), remedy=remedy
        )


def _signature(release: Path, bad: List[str]) -> Optional[Dict[str, Any]]:
    try:
        return check_signature(release)
    except EnvironmentFailure:
        raise
    except Failure as failure:
        bad.append(f"{Path(failure.where).name}: {failure.what}")
        return None


def _files(release: Path, name: str, bad: List[str]) -> Files:
    try:
        files = read_json(release / name).get("files")
    except Failure as failure:
        bad.append(f"{name}: {failure.what}")
        return {}
    if not isinstance(files, dict) or not all(isinstance(entry, dict) for entry in files.values()):
        bad.append(f"{name}: names no files")
        return {}
    return files


def _check(release: Path, path: str, entry: Dict[str, Any]) -> Iterator[str]:
    place = release / path
    if path.startswith("/") or ".." in path.split("/"):
        yield f"{path}: leads out of the release"
    elif not place.is_file():
        yield f"{path}: is missing"
    elif place.stat().st_size != entry.get("size_bytes"):
        yield f"{path}: has {place.stat().st_size} bytes, not {entry.get('size_bytes')}"
    elif digest_of(place) != entry.get("sha256"):
        yield f"{path}: its bytes are not those that were released (sha256 differs)"


def _lineage(release: Path) -> Iterator[str]:
    """The folder is named by release.json's digest, and release.json names the manifest's."""
    own = digest_of(release / "release.json")
    folder = release.resolve().name
    if len(folder) == len(own) and folder != own:
        yield "release.json: its digest is not the folder's name"
    manifest = release / "manifest.json"
    try:
        named = read_json(release / "release.json").get("bundle")
    except Failure:
        return
    if manifest.is_file() and named != digest_of(manifest):
        yield "manifest.json: is not the bundle that release.json names"


def _strangers(release: Path, files: Files) -> Iterator[str]:
    """Files that nobody named; byte code that Python leaves behind is none of them."""
    for path in sorted(place.relative_to(release).as_posix() for place in release.rglob("*") if not place.is_dir()):
        if path not in files and path != "release.json" and "__pycache__" not in path.split("/"):
            yield f"{path}: is not part of the release"
