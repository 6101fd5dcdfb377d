"""The file tree of a release: a bundle, its signature and the device code, indexed by release.json."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from toolkit import hashing
from toolkit.bundle.verify import verify_bundle
from toolkit.device import layout
from toolkit.device.layout import CONTAINER_IMAGE, MANIFEST, MANIFEST_SIGNATURE, RELEASE
from toolkit.errors import BundleError, Problem
from toolkit.fleet.transfer.tree import DEVICE_CODE, File, FileTree, build_tree, file_index, make_file

_REMEDY = "copy the bundle again; only regular files can be deployed"


def release_tree(bundle: Path, device_code: Path = DEVICE_CODE) -> FileTree:
    """Return the release made of a verified bundle, its signature if it has one, and the device code.

    Whether the signature is trusted is decided by the device.

    Raises:
        BundleError: the bundle differs from its manifest, or holds a link; every such file is named.
    """
    manifest = verify_bundle(bundle)
    paths = [*manifest["files"], MANIFEST]
    if (bundle / MANIFEST_SIGNATURE).is_symlink() or (bundle / MANIFEST_SIGNATURE).exists():
        paths.append(MANIFEST_SIGNATURE)
    if problems := [problem for path in paths for problem in _links(bundle, path)]:
        raise BundleError.from_problems(problems)
    contents = build_tree({path: bundle / path for path in paths})
    code = build_tree({f"{layout.DEVICE_CODE}/{path}": device_code / path for path in _code_files(device_code)})
    files = (*contents.files, *code.files)
    parent = next(file.sha256 for file in files if file.path == MANIFEST)
    index = hashing.canonical_json({"bundle": parent, "device": code.digest, "files": file_index(files)})
    return _release(files, index, parent)


def with_container_image(release: FileTree, reference: str) -> FileTree:
    """Return the release with the file `container-image`, which names the container image that it runs in."""
    files = (*release.files, make_file(CONTAINER_IMAGE, f"{reference}\n".encode()))
    files = tuple(file for file in files if file.path != RELEASE)
    index = {**json.loads(release_index(release)), "files": file_index(files)}
    return _release(files, hashing.canonical_json(index), release.parent)


def release_index(release: FileTree) -> bytes:
    """Return the content of a release's release.json."""
    index = next(file.source for file in release.files if file.path == RELEASE)
    assert isinstance(index, bytes)  # noqa: S101 - release.json is generated, never read from a file
    return index


def _release(files: tuple[File, ...], index: bytes, parent: str) -> FileTree:
    file = make_file(RELEASE, index)
    return FileTree(file.sha256, (*files, file), parent)


def _links(bundle: Path, path: str) -> Iterator[Problem]:
    """Yield a problem if the file, or a folder that leads to it, is a symbolic link."""
    for place in (bundle / path, *(bundle / parent for parent in Path(path).parents if parent.name)):
        if place.is_symlink():
            yield Problem("is a symbolic link, which is not deployed", str(place), _REMEDY)


def _code_files(folder: Path) -> Iterator[str]:
    """Yield the device code's files as relative paths, without byte code, hidden files and caches."""
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        hidden = any(part.startswith((".", "__pycache__")) for part in relative.parts)
        if path.is_file() and not hidden and path.suffix != ".pyc":
            yield relative.as_posix()
