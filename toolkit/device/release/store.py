"""What a device keeps, named by its content.

    ROOT/store/<sha256>          a file's bytes, read-only, hard-linked into every folder that has that file
    ROOT/store/<sha256>.chunks   how it was cut: lines "SHA256 SIZE", from its start to its end
    ROOT/store/<sha256>.part     one that is arriving; what came of it is found again after a cut
    ROOT/<folder>/.<name>.sums   every file of ROOT/<folder>/<name>, as `sha256sum --check` reads it

A layout says what shall be where: {"place": folder, "files": [{"path", "sha256", "size_bytes", "chunks"}]}, where chunks
are [[sha256, size], …], left out where a file is one piece. This file, `pruning` and `receiving` import the standard
library and one another alone: the controller sends them along on stdin, so that a bare device can receive, too.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import IO, Any, Dict, Iterable, Iterator, List, Set, Tuple

BUFFER = 1 << 20

File = Dict[str, Any]
Layout = Dict[str, Any]
Span = Tuple[Path, int, int]
"""Bytes of a file: which, from where, how many."""


def survey(root: Path, layout: Layout) -> Dict[str, Any]:
    """What of the layout is here: {"intact": paths, "stored": files, "chunks": pieces, "damaged": what has wrong bytes}."""
    place, files, store = root / layout["place"], layout["files"], root / "store"
    wrong = [file for file in files if not is_intact(place / file["path"], file)]
    stored = {file["sha256"] for file in wrong if is_intact(store / file["sha256"], file)}
    lacking = [file for file in wrong if file["sha256"] not in stored]
    damaged = [file["path"] for file in wrong if (place / file["path"]).exists()]
    damaged += sorted({"store/" + file["sha256"] for file in lacking if (store / file["sha256"]).exists()})
    return {
        "intact": [file["path"] for file in files if file not in wrong],
        "stored": sorted(stored),
        "chunks": sorted(find_chunks(store, lacking)),
        "damaged": damaged,
    }


def chunks_of(file: File) -> Iterator[Tuple[str, int, int]]:
    """SHA-256, offset and size of each piece of a file."""
    offset = 0
    for sha, size in file.get("chunks") or [[file["sha256"], file["size_bytes"]]]:
        yield sha, offset, size
        offset += size


def find_chunks(store: Path, lacking: List[File]) -> Dict[str, Span]:
    """Where the bytes of lacking files' pieces are already: in what is arriving, or in files that share them."""
    wanted = {sha for file in lacking for sha, _, _ in chunks_of(file)}
    found: Dict[str, Span] = {}
    for sha, span in _possible_spans(store, lacking, wanted):
        if sha not in found and hashlib.sha256(read_span(span)).hexdigest() == sha:
            found[sha] = span
    return found


def _possible_spans(store: Path, lacking: List[File], wanted: Set[str]) -> Iterator[Tuple[str, Span]]:
    """Where they should be; the bytes may be others by now."""
    for file in lacking:
        part = partial_path(store, file)
        if part.exists():
            yield from ((sha, (part, offset, size)) for sha, offset, size in chunks_of(file))
    for index in sorted(store.glob("*.chunks")) if wanted else ():
        whole = index.with_suffix("")
        if whole.exists():
            chunks = [(sha, int(size)) for sha, size in (line.split() for line in index.read_text().splitlines())]
            yield from ((sha, (whole, at, size)) for sha, at, size in chunks_of({"chunks": chunks}) if sha in wanted)


def partial_path(store: Path, file: File) -> Path:
    """Where a file lies while it is arriving."""
    return store / f"{file['sha256']}.part"


def checksum_path(place: Path) -> Path:
    """Where the digests of a folder's files are kept."""
    return place.with_name("." + place.name + ".sums")


def checksum_lines(files: Iterable[File]) -> bytes:
    """Every file with its digest, as `sha256sum --check` reads it."""
    return "".join("{}  {}\n".format(file["sha256"], file["path"]) for file in files).encode()


def is_intact(path: Path, file: File) -> bool:
    """Whether it is there and has the bytes that it should have."""
    try:
        return bool(path.stat().st_size == file["size_bytes"] and sha256_file(path) == file["sha256"])
    except OSError:
        return False


def read_span(span: Span) -> bytes:
    """The bytes; fewer where the file is shorter."""
    path, offset, size = span
    with open(path, "rb") as stream:
        stream.seek(offset)
        return stream.read(size)


def sha256_file(path: Path) -> str:
    """SHA-256 of a file in lower-case hex."""
    with open(path, "rb") as stream:
        return sha256_stream(stream)


def sha256_stream(stream: IO[bytes]) -> str:
    """SHA-256 of what is left of a stream, read in blocks."""
    total = hashlib.sha256()
    for block in iter(lambda: stream.read(BUFFER), b""):
        total.update(block)
    return total.hexdigest()


def write_atomic(path: Path, content: bytes) -> None:
    """Beside it first, then renamed: whoever reads it sees the old bytes or the new, even after a power cut."""
    part = path.with_name(path.name + ".new")
    part.write_bytes(content)
    sync(part)
    part.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """A file's bytes, or a folder's names, onto the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_writable(folder: Path) -> None:
    """A folder of which releases are made is read-only, with all that is in it."""
    for path, _, _ in os.walk(folder):
        Path(path).chmod(0o755)


def remove(folder: Path) -> None:
    """A folder of which releases are made, with all that is in it."""
    make_writable(folder)
    for path, folders, files in os.walk(folder, topdown=False):
        for name in files:
            Path(path, name).unlink()
        for name in folders:
            inner = Path(path, name)
            inner.unlink() if inner.is_symlink() else inner.rmdir()
    folder.rmdir()
