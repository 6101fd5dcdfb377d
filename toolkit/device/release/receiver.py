"""Receive chunks and build folders from them: received chunks are kept, and a folder appears complete or not at all.

The controller runs this file on a device, with the layout and a tar archive of chunks on stdin.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import sys
import zlib
from pathlib import Path
from typing import IO, Any, Dict, Iterable, Iterator, List, Optional, Tuple

from ..layout import STORE
from . import store
from .prune import prune
from .store import File, Layout

MAX_CHUNK_BYTES = 1 << 20
"""Size limit of a chunk, compressed or not; larger ones are not read."""

_BLOCK = 512
"""Block size of tar archives."""

Chunks = Iterable[Tuple[str, bytes]]
"""Pairs of the name and the bytes of a chunk."""


def main(arguments: List[str]) -> int:
    """Run `survey ROOT` or `receive ROOT KEEP`: read the layout as a line of JSON, answer with another."""
    action, root = arguments[0], Path(arguments[1])
    stream = sys.stdin.buffer
    layout = json.loads(stream.readline())
    os.umask(0o022)
    if action == "survey":
        try:
            answer = store.survey(root, layout)
        except OSError as error:
            answer = _failure(root, error)
    else:
        answer = answer_receive(root, layout, arguments[2], stream)
    print(json.dumps(answer))
    return 0


def answer_receive(root: Path, layout: Layout, keep: str, stream: IO[bytes]) -> Dict[str, Any]:
    """Prune, unless `keep` is "all", then receive from a stream; return the result, or what the disk refused."""
    try:
        if keep != "all":
            prune(root, int(keep), layout)
        return receive(root, layout, iter_chunks(stream))
    except OSError as error:
        return _failure(root, error)


def is_at_end(stream: IO[bytes]) -> bool:
    """Return whether the archive ends here, after the first of the two empty blocks that `receive` stops at."""
    return stream.read(_BLOCK) == bytes(_BLOCK)


def _failure(root: Path, error: OSError) -> Dict[str, Any]:
    return {"ok": False, "error": error.strerror, "errno": error.errno, "where": error.filename or str(root)}


def receive(root: Path, layout: Layout, records: Chunks) -> Dict[str, Any]:
    """Store chunks; once all files are complete, build the folder exactly as in the layout.

    Returns:
        {"ok", "lacking", "damaged"}: the missing chunks, and those of them that arrived with wrong bytes.

    Raises:
        OSError: the disk is full, read-only or broken; received chunks are kept.
    """
    place, folder = root / layout["place"], root / STORE
    folder.mkdir(parents=True, exist_ok=True)
    wrong = [file for file in layout["files"] if not store.is_intact(place / file["path"], file)]
    lacking = {file["sha256"]: file for file in wrong if not store.is_intact(folder / file["sha256"], file)}
    reusable = store.find_chunks(folder, list(lacking.values()))
    arriving = [_IncomingFile(folder, file) for file in lacking.values()]
    users: Dict[str, List[_IncomingFile]] = {}
    for one in arriving:
        for sha in one.lacks:
            users.setdefault(sha, []).append(one)
    for sha, span in reusable.items():
        _distribute(users, sha, store.read_span(span))
    damaged = [sha for sha, content in records if not _accept(users, sha, content)]
    missing = {sha for one in arriving for sha in one.settle()}
    if not missing:
        _assemble(root, place, layout["files"], wrong)
    return {"ok": not missing, "lacking": sorted(missing), "damaged": sorted(missing.intersection(damaged))}


def iter_chunks(stream: IO[bytes]) -> Iterator[Tuple[str, bytes]]:
    """Yield the chunks of a tar archive (POSIX.1-1988), each named by its SHA-256, with ".z" if zlib-compressed.

    A chunk that is too large or cannot be decompressed is empty, so it does not match its digest. tarfile is not used,
    because importing it on a Pi takes longer than reading the archive.
    """
    for name, content in iter_members(stream):
        sha, _, encoding = name.partition(".")
        yield sha, decompress(content or b"", encoding)


def iter_members(stream: IO[bytes], limit: int = MAX_CHUNK_BYTES) -> Iterator[Tuple[str, Optional[bytes]]]:
    """Yield the name and bytes of the files in a tar archive, up to a truncation; None for more than `limit` bytes."""
    while True:
        header = stream.read(_BLOCK)
        digits = header[124:136].rstrip(b"\0 ")
        octal = bool(digits) and not digits.strip(b"01234567")
        if len(header) < _BLOCK or not octal or header[156:157] not in (b"0", b"\0"):
            return
        size = int(digits, 8)
        name = header[:100].rstrip(b"\0").decode("ascii", "replace")
        if size > limit:
            yield name, None  # before the content is skipped, so that the caller can stop here
        content = _read_member(stream, size, limit)
        if content is None or len(stream.read(-size % _BLOCK)) < -size % _BLOCK:
            return
        if size <= limit:
            yield name, content


def _read_member(stream: IO[bytes], size: int, limit: int) -> Optional[bytes]:
    """Return `size` bytes; empty if above the limit, None if the stream ends early."""
    content = bytearray()
    for start in range(0, size, MAX_CHUNK_BYTES):
        block = stream.read(min(MAX_CHUNK_BYTES, size - start))
        if len(block) < min(MAX_CHUNK_BYTES, size - start):
            return None
        if size <= limit:
            content += block
    return bytes(content)


def decompress(content: bytes, encoding: str) -> bytes:
    """Return the decompressed bytes; empty if they are not valid."""
    try:
        return zlib.decompressobj().decompress(content, MAX_CHUNK_BYTES) if encoding == "z" else content
    except zlib.error:
        return b""


class _IncomingFile:
    """A file with missing chunks; each chunk is written at its offset."""

    def __init__(self, folder: Path, file: File) -> None:
        self._file, self._final, self._part = file, folder / file["sha256"], store.partial_path(folder, file)
        self.lacks: Dict[str, List[int]] = {}
        for sha, offset, _ in store.chunks_of(file):
            self.lacks.setdefault(sha, []).append(offset)
        handle = os.open(self._part, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if file["size_bytes"]:
                os.posix_fallocate(handle, 0, file["size_bytes"])  # a full disk fails here
            os.ftruncate(handle, file["size_bytes"])
        finally:
            os.close(handle)

    def take(self, sha: str, content: bytes) -> None:
        """Write a chunk at each of its offsets in this file."""
        handle = os.open(self._part, os.O_WRONLY)
        try:
            for offset in self.lacks.pop(sha):
                if os.pwrite(handle, content, offset) < len(content):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._part))
        finally:
            os.close(handle)

    def settle(self) -> List[str]:
        """Rename the file to its digest if it is complete; else return the missing chunks."""
        if self.lacks:
            return list(self.lacks)
        if store.sha256_file(self._part) != self._file["sha256"]:
            return [sha for sha, _, _ in store.chunks_of(self._file)]
        if self._file.get("chunks"):
            cut = "".join("{} {}\n".format(sha, size) for sha, _, size in store.chunks_of(self._file))
            store.write_atomic(self._final.with_suffix(".chunks"), cut.encode())
        self._part.chmod(0o444)
        store.sync(self._part)
        self._part.replace(self._final)
        return []


def _distribute(users: Dict[str, List[_IncomingFile]], sha: str, content: bytes) -> None:
    """Write a chunk to the files that lack it; others do not wait for it, or have it by now."""
    for one in users.pop(sha, ()):
        one.take(sha, content)


def _accept(users: Dict[str, List[_IncomingFile]], sha: str, content: bytes) -> bool:
    """Write a chunk if it matches its digest; return whether it does."""
    right = hashlib.sha256(content).hexdigest() == sha
    if right:
        _distribute(users, sha, content)
    return right


def _assemble(root: Path, place: Path, files: List[File], wrong: List[File]) -> None:
    """Build the folder from hard links beside its place and rename it; an existing folder is updated file by file."""
    base = place if place.exists() else place.with_name("." + place.name + ".part")
    if base is not place and base.exists():
        store.remove(base)
    if base.exists():
        store.make_writable(base)
    base.mkdir(parents=True, exist_ok=True)
    for file in wrong:
        _link(root / STORE / file["sha256"], base / file["path"])
    for path, _, _ in os.walk(base, topdown=False):
        Path(path).chmod(0o555)
        store.sync(Path(path))
    store.write_atomic(store.checksum_path(place), store.checksum_lines(files))
    if base is not place:
        base.rename(place)
    store.sync(place.parent)


def _link(source: Path, target: Path) -> None:
    """Make a hard link, or a copy if links are not possible; readers see the old bytes or the new ones."""
    part = target.with_name(target.name + ".part")
    target.parent.mkdir(parents=True, exist_ok=True)
    if part.exists():
        part.unlink()
    try:
        os.link(source, part)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK):
            raise
        part.write_bytes(source.read_bytes())
        part.chmod(0o444)
        store.sync(part)
    part.replace(target)
