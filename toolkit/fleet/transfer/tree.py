"""Files as they shall lie on a device, named by their content."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import toolkit
from toolkit import hashing
from toolkit.errors import BundleError, Problem
from toolkit.fleet.device_command import CONTAINER_IMAGE
from toolkit.fleet.transfer.chunks import Chunk, Source, chunks_of, cut, tensors_of

SIGNATURE = "manifest.json.sig"
"""Beside a bundle's manifest once it is signed; no part of the bundle, but of the release."""
DEVICE_CODE = Path(toolkit.__file__).parent / "device"
"""All that runs on a device; ships inside each release."""


@dataclass(frozen=True, slots=True)
class File:
    """One file: where it shall be (relative, with slashes), what it holds, and where that is to be had."""

    path: str
    sha256: str
    size_bytes: int
    source: Source
    chunks: tuple[Chunk, ...] = ()
    """Its pieces, if it is cut into more than one."""

    @property
    def pieces(self) -> tuple[Chunk, ...]:
        """What it is sent in; a file that is not cut is one piece."""
        return self.chunks or (Chunk(self.sha256, 0, self.size_bytes),)


@dataclass(frozen=True, slots=True)
class Tree:
    """Files under one name: the same digest is the same paths with the same bytes."""

    digest: str
    files: tuple[File, ...]
    parent: str = ""
    """For a release, the digest of its bundle."""

    @property
    def size_bytes(self) -> int:
        """All files together, bytes that occur twice counted once."""
        return sum({file.sha256: file.size_bytes for file in self.files}.values())


def tree_of(sources: Mapping[str, Source]) -> Tree:
    """A tree of any files, such as a set of images; its digest covers every path and every byte.

    Raises:
        BundleError: a path cannot be sent; all of them are named.
    """
    problems = [problem for path in sources for problem in _path_problems(path)]
    if problems:
        raise BundleError.from_problems(problems)
    files = tuple(_cut(_file(path, source), sources) for path, source in sorted(sources.items()))
    return Tree(hashing.sha256_json(listing(files)), files)


def release_tree(bundle: Path, device_code: Path = DEVICE_CODE) -> Tree:
    """A bundle, its signature if it has one, and the device code as the release that they become.

    Every byte of the bundle is checked first; whether to trust the signature is for the device to say.

    Raises:
        BundleError: the bundle is not what its manifest says; names every file that is off.
    """
    manifest = _manifest(bundle)
    expected = manifest["files"]
    sources: dict[str, Source] = {path: bundle / path for path in expected}
    if (bundle / SIGNATURE).exists():
        sources[SIGNATURE] = bundle / SIGNATURE
    contents = tree_of(sources | {"manifest.json": bundle / "manifest.json"})
    problems = [problem for file in contents.files for problem in _differences(file, expected.get(file.path), bundle)]
    if problems:
        raise BundleError.from_problems(problems)
    code = tree_of({f"device/{path}": device_code / path for path in _code_files(device_code)})
    return _released(contents, code)


def _released(bundle: Tree, code: Tree) -> Tree:
    """Both, with the release.json that names every byte of them."""
    files = (*bundle.files, *code.files)
    parent = next(file.sha256 for file in bundle.files if file.path == "manifest.json")
    described = hashing.canonical_json({"bundle": parent, "device": code.digest, "files": listing(files)})
    release = _file("release.json", described)
    return Tree(release.sha256, (*files, release), parent)


def with_container_image(release: Tree, reference: str) -> Tree:
    """The release that runs in a container image: its file `container-image` says in which, and its digest covers that."""
    files = tuple(file for file in release.files if file.path != "release.json")
    described = next(file.source for file in release.files if file.path == "release.json")
    assert isinstance(described, bytes)  # noqa: S101 - it is made, not read
    files = (*files, _file(CONTAINER_IMAGE, f"{reference}\n".encode()))
    made = _file("release.json", hashing.canonical_json({**json.loads(described), "files": listing(files)}))
    return Tree(made.sha256, (*files, made), release.parent)


def listing(files: tuple[File, ...]) -> dict[str, dict[str, object]]:
    """What is where, as release.json and manifest.json say it."""
    return {file.path: {"sha256": file.sha256, "size_bytes": file.size_bytes} for file in files}


def _file(path: str, source: Source) -> File:
    if isinstance(source, bytes):
        return File(path, hashing.sha256_bytes(source), len(source), source)
    try:
        return File(path, hashing.sha256_file(source), source.stat().st_size, source)
    except OSError as error:
        raise BundleError(
            f"cannot be read: {error.strerror}", where=str(source), remedy="make the bundle again"
        ) from None


def _cut(file: File, sources: Mapping[str, Source]) -> File:
    """The file with its pieces; weights are cut along the tensors that the .xml beside them names."""
    xml = sources.get(file.path.removesuffix(".bin") + ".xml") if file.path.endswith(".bin") else None
    described = b"" if xml is None else xml if isinstance(xml, bytes) else xml.read_bytes()
    spans = cut(file.size_bytes, tensors_of(described))
    return file if len(spans) == 1 else replace(file, chunks=chunks_of(file.source, spans))


def _manifest(bundle: Path) -> dict[str, Any]:
    """manifest.json, which must be the one that the folder is named by."""
    path = bundle / "manifest.json"
    remedy = "give a bundle's folder, or make the bundle again"
    try:
        content = path.read_bytes()
        manifest: dict[str, Any] = json.loads(content)
        problems = [problem for name in manifest["files"] for problem in _path_problems(name)]
    except OSError as error:
        raise BundleError(f"is no bundle: {error.strerror}", where=str(path), remedy=remedy) from None
    except (ValueError, KeyError, TypeError):
        raise BundleError("is not a bundle's manifest", where=str(path), remedy=remedy) from None
    name, digest = bundle.resolve().name, hashing.sha256_bytes(content)
    if len(name) == len(digest) and name != digest:
        problems.append(Problem("its digest is not the bundle's name: its bytes were changed", str(path), remedy))
    if problems:
        raise BundleError.from_problems(problems)
    return manifest


def _differences(file: File, expected: Mapping[str, object] | None, bundle: Path) -> Iterator[Problem]:
    """How a file differs from what the manifest says; the manifest itself cannot be in it."""
    if expected is None:
        return
    where, remedy = str(bundle / file.path), "its bytes were changed after it was made: make the bundle again"
    if file.size_bytes != expected.get("size_bytes"):
        yield Problem(f"has {file.size_bytes} bytes, not {expected.get('size_bytes')}", where, remedy)
    elif file.sha256 != expected.get("sha256"):
        yield Problem("is not what the manifest says (sha256 differs)", where, remedy)


def _path_problems(path: str) -> Iterator[Problem]:
    """Names that leave the tree, or that a line of text cannot carry."""
    parts = path.split("/")
    if path.startswith("/") or ".." in parts or "" in parts or "." in parts:
        yield Problem("leads out of its folder or is not in plain form", path, "name files by plain relative paths")
    if path != path.strip() or any(letter in path for letter in "\n\r\t\\"):
        yield Problem(
            "has a name that cannot be sent", path, "rename it: no line ends, tabs, backslashes, outer spaces"
        )


def _code_files(folder: Path) -> Iterator[str]:
    """The device code's files, relative; not what Python or an editor left behind."""
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        hidden = any(part.startswith((".", "__pycache__")) for part in relative.parts)
        if path.is_file() and not hidden and path.suffix != ".pyc":
            yield relative.as_posix()
