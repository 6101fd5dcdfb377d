"""Writing files whole: by renaming over regular files, straight through everything else."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

STDOUT = frozenset(map(Path, ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")))


@contextmanager
def atomic_write(path: Path, *, durable: bool = True) -> Iterator[IO[bytes]]:
    """Write beside `path` and rename, so that a reader sees the old content or the new one, never a part of it.

    A link stays a link: the file that it names is replaced. Devices and FIFOs are written through; `-` is stdout.
    Without `durable`, a power cut may damage the new file: for caches that detect damage themselves.
    """
    if path in STDOUT:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    elif path.exists() and not path.is_file():
        with path.open("wb") as stream:
            yield stream
    else:
        with _renamed(path.resolve() if path.is_symlink() else path, durable=durable) as stream:
            yield stream


@contextmanager
def _renamed(path: Path, *, durable: bool) -> Iterator[IO[bytes]]:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:  # around its creation, too: Ctrl-C may come between any two instructions
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


def csv_text(value: object) -> object:
    """A CSV cell that no spreadsheet takes for a formula: a text that begins like one gets an apostrophe."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
