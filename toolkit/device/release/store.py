"""Content-addressed store of a device.

    ROOT/store/<sha256>          a file's bytes, read-only, hard-linked into every folder that has that file
    ROOT/store/<sha256>.chunks   its chunks in order: lines "SHA256 SIZE"
    ROOT/store/<sha256>.part     a partial file; its chunks are reused after an interruption
    ROOT/<folder>/.<name>.sums   digests of all files of ROOT/<folder>/<name>, for `sha256sum --check`

A layout lists the files of a folder: {"place": folder, "files": [{"path", "sha256", "size_bytes", "chunks"}]}. Chunks
are [[sha256, size], …], left out if the file is a single chunk. This file, `prune` and `receiver` import only the
standard library, `layout` and each other: the controller sends them on stdin, so that a device without a release can
receive one.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import IO, Any, Dict, Iterable, Iterator, List, Set, Tuple

from ..layout import STORE

BUFFER = 1 << 20

File = Dict[str, Any]
Layout = Dict[str, Any]
Span = Tuple[Path, int, int]
"""A range of a file: path, offset, size."""


def survey(root: Path, layout: Layout) -> Dict[str, Any]:
    """Return what exists of a layout: {"intact": paths, "stored": files, "chunks": chunks, "damaged": wrong files}."""
    place, files, store = root / layout["place"], layout["files"], root / STORE
    wrong = [file for file in files if not is_intact(place / file["path"], file)]
    stored = {file["sha256"] for file in wrong if is_intact(store / file["sha256"], file)}
    lacking = [file for file in wrong if file["sha256"] not in stored]
    damaged = [file["path"] for file in wrong if (place / file["path"]).exists()]
    damaged += sorted({f"{STORE}/{file['sha256']}" for file in lacking if (store / file["sha256"]).exists()})
    return {
        "intact": [file["path"] for file in files if file not in wrong],
        "stored": sorted(stored),
        "chunks": sorted(find_chunks(store, lacking)),
        "damaged": damaged,
    }


def chunks_of(file: File) -> Iterator[Tuple[str, int, int]]:
    """Yield the SHA-256, offset and size of each chunk of a file."""
    offset = 0
    for sha, size in file.get("chunks") or [[file["sha256"], file["size_bytes"]]]:
        yield sha, offset, size
        offset += size


def find_chunks(store: Path, lacking: List[File]) -> Dict[str, Span]:
    """Return where chunks of missing files exist: in partial files, or in files that share them."""
    missing = {sha for file in lacking for sha, _, _ in chunks_of(file)}
    spans: Dict[str, Span] = {}
    for sha, span in _possible_spans(store, lacking, missing):
        if sha not in spans and hashlib.sha256(read_span(span)).hexdigest() == sha:
            spans[sha] = span
    return spans


def _possible_spans(store: Path, lacking: List[File], missing: Set[str]) -> Iterator[Tuple[str, Span]]:
    """Yield the expected ranges; the bytes may have changed."""
    for file in lacking:
        part = partial_path(store, file)
        if part.exists():
            yield from ((sha, (part, offset, size)) for sha, offset, size in chunks_of(file))
    for index in sorted(store.glob("*.chunks")) if missing else ():
        whole = index.with_suffix("")
        if whole.exists():
            chunks = [(sha, int(size)) for sha, size in (line.split() for line in index.read_text().splitlines())]
            yield from ((sha, (whole, at, size)) for sha, at, size in chunks_of({"chunks": chunks}) if sha in missing)


def partial_path(store: Path, file: File) -> Path:
    """Return the path of a partial file."""
    return store / f"{file['sha256']}.part"


def checksum_path(place: Path) -> Path:
    """Return the path of the list of digests of a folder."""
    return place.with_name("." + place.name + ".sums")


def checksum_lines(files: Iterable[File]) -> bytes:
    """Return the digests of all files, for `sha256sum --check`."""
    return "".join("{}  {}\n".format(file["sha256"], file["path"]) for file in files).encode()


def is_intact(path: Path, file: File) -> bool:
    """Return whether the file exists with the expected bytes."""
    try:
        return bool(path.stat().st_size == file["size_bytes"] and sha256_file(path) == file["sha256"])
    except OSError:
        return False


def read_span(span: Span) -> bytes:
    """Return the bytes of a range; fewer if the file is shorter."""
    path, offset, size = span
    with open(path, "rb") as stream:
        stream.seek(offset)
        return stream.read(size)


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file in lower-case hex."""
    with open(path, "rb") as stream:
        return sha256_stream(stream)


def sha256_stream(stream: IO[bytes]) -> str:
    """Return the SHA-256 of the rest of a stream."""
    total = hashlib.sha256()
    for block in iter(lambda: stream.read(BUFFER), b""):
        total.update(block)
    return total.hexdigest()


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file by renaming a temporary one: readers see the old or the new bytes, even after a power cut."""
    part = path.with_name(path.name + ".new")
    part.write_bytes(content)
    sync(part)
    part.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Flush a file, or the entries of a folder, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_writable(folder: Path) -> None:
    """Make a folder and the folders in it writable."""
    for path, _, _ in os.walk(folder):
        Path(path).chmod(0o755)


def remove(folder: Path) -> None:
    """Remove a folder and its contents, read-only or not."""
    make_writable(folder)
    for path, folders, files in os.walk(folder, topdown=False):
        for name in files:
            Path(path, name).unlink()
        for name in folders:
            inner = Path(path, name)
            inner.unlink() if inner.is_symlink() else inner.rmdir()
    folder.rmdir()
