"""SHA-256 of bytes, files and values: what names everything here."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


def of_bytes(content: bytes) -> str:
    """The digest of `content`."""
    return hashlib.sha256(content).hexdigest()


def of_file(path: Path) -> str:
    """The digest of a file's content, read in chunks."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def canonical_json(value: object) -> bytes:
    """One way to write `value`: sorted keys, no spaces, UTF-8, no NaN; the same value is always the same bytes."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def of_value(value: object) -> str:
    """The digest of a JSON-like value."""
    return of_bytes(canonical_json(value))


@contextmanager
def written_whole(path: Path, *, durable: bool = True) -> Iterator[IO[bytes]]:
    """Write beside `path` and rename: a reader sees the old file or the new one, whole, whatever happens.

    Not `durable`, a power cut may leave the new one damaged: for caches that tell so themselves.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:  # around its making, too: Ctrl-C may come between any two instructions
        with part.open("x+b") as stream:
            yield stream
            stream.flush()
            if durable:
                os.fsync(stream.fileno())
        part.chmod(0o644)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
