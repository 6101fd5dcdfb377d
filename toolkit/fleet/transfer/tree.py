"""Content-addressed file trees: the files of a device's folder, by path and digest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from toolkit import hashing
from toolkit.device import layout
from toolkit.errors import BundleError, Problem
from toolkit.fleet.transfer.chunks import Chunk, Source, chunks_of, open_regular, split, tensors_of

DEVICE_CODE = Path(layout.__file__).parent
"""The device code, which ships inside each release."""


@dataclass(frozen=True, slots=True)
class File:
    """One file of a tree: its relative path with slashes, its digest, and where its bytes come from."""

    path: str
    sha256: str
    size_bytes: int
    source: Source
    chunks: tuple[Chunk, ...]
    """At least one, from the file's start to its end."""


@dataclass(frozen=True, slots=True)
class FileTree:
    """Files under one digest: equal digests mean equal paths with equal bytes."""

    digest: str
    files: tuple[File, ...]
    parent: str = ""
    """For a release, the digest of its bundle."""

    @property
    def size_bytes(self) -> int:
        """The size of all files, counting equal contents once."""
        return sum({file.sha256: file.size_bytes for file in self.files}.values())


def build_tree(sources: Mapping[str, Source]) -> FileTree:
    """Return the tree of the given files, such as a set of images; its digest covers every path and every byte.

    Raises:
        BundleError: a path is not portable, or a file cannot be read; all bad paths are named.
    """
    problems = [problem for path in sources for problem in _path_problems(path)]
    if problems:
        raise BundleError.from_problems(problems)
    files = tuple(make_file(path, source, _tensors(path, sources)) for path, source in sorted(sources.items()))
    return FileTree(hashing.sha256_json(file_index(files)), files)


def file_index(files: tuple[File, ...]) -> dict[str, dict[str, object]]:
    """Return the files as release.json and manifest.json list them."""
    return {file.path: {"sha256": file.sha256, "size_bytes": file.size_bytes} for file in files}


def make_file(path: str, source: Source, tensors: tuple[tuple[int, int], ...] = ()) -> File:
    """Return a file with its digest and chunks; `tensors` are the spans that its chunks align with.

    Raises:
        BundleError: the source cannot be read or is not a regular file.
    """
    try:
        size, digest = _digest(source)
        spans = split(size, tensors)
        chunks = (Chunk(digest, size, source),) if len(spans) == 1 else chunks_of(source, spans)
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
        raise BundleError(what, where=str(source), remedy="check that it is a regular file, then try again") from None
    return File(path, digest, size, source, chunks)


def _digest(source: Source) -> tuple[int, str]:
    if isinstance(source, bytes):
        return len(source), hashing.sha256_bytes(source)
    with open_regular(source) as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return stream.tell(), digest


def _tensors(path: str, sources: Mapping[str, Source]) -> tuple[tuple[int, int], ...]:
    """Return the tensors of weights whose .xml is in the same tree."""
    xml = sources.get(path.removesuffix(".bin") + ".xml") if path.endswith(".bin") else None
    if xml is None:
        return ()
    return tensors_of(xml if isinstance(xml, bytes) else xml.read_bytes())


def _path_problems(path: str) -> Iterator[Problem]:
    """Yield a problem for a path that leaves the tree or contains a line break."""
    parts = path.split("/")
    if path.startswith("/") or ".." in parts or "" in parts or "." in parts:
        yield Problem("is not a plain relative path", path, "use relative paths without '.', '..' and double slashes")
    if path != path.strip() or any(letter in path for letter in "\n\r\t\\"):
        remedy = "rename it: no line ends, tabs, backslashes, leading or trailing spaces"
        yield Problem("has a name that cannot be transferred", path, remedy)
