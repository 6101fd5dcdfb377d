"""Write complete files: by a rename over regular files, directly into anything else.

What is not whole yet is a part: `.NAME.<8 hex>.part`, or a folder `.part-<8 hex>`. Who writes it holds a lock on it, so that
parts of processes that were killed can be told from those in use, and are removed by the next one that writes there.
"""

from __future__ import annotations

import csv
import errno
import fcntl
import io
import os
import secrets
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO

from toolkit.errors import MachineError

_OF_THE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
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
def part_folder(parent: Path) -> Iterator[Path]:
    """Yield a new folder beside what it is for, in `parent`; what is still in it at the end is removed."""
    parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(parent)
    lock = None
    while lock is None:  # another process may just remove it as abandoned
        part = parent / f".part-{secrets.token_hex(4)}"
        part.mkdir()
        lock = _lock(part)
    try:
        yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)
        os.close(lock)


@contextmanager
def _renamed(path: Path, *, durable: bool) -> Iterator[IO[bytes]]:
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned_once(path.parent)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:  # around its creation, too: Ctrl-C may come between any two instructions
        with _open_part(part) as stream:
            yield stream
            stream.flush()
            if durable:
                os.fsync(stream.fileno())
            part.chmod(0o644)
            part.replace(path)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in _OF_THE_DISK and error.filename is None:
            error.filename = str(path)  # writing to an open file names none
        raise


def _open_part(part: Path) -> IO[bytes]:
    """Create a file and lock it; again, if another process has removed it as abandoned in between."""
    while True:
        stream = part.open("x+b")
        with suppress(OSError):  # some network file systems have no locks: nothing is abandoned there
            fcntl.flock(stream, fcntl.LOCK_SH)
        if part.exists():
            return stream
        stream.close()


@cache
def _remove_abandoned_once(folder: Path) -> None:
    """Remove abandoned parts once in a process: listing a folder for each file in it would take long."""
    _remove_abandoned(folder)


def _remove_abandoned(folder: Path) -> None:
    """Remove the parts in a folder that no process holds."""
    with suppress(OSError):  # for example a folder that may not be listed
        for part in (*folder.glob(".part-????????"), *folder.glob(".*.????????.part")):
            if part.name.startswith(".part-") != part.is_dir() or (lock := _lock(part)) is None:
                continue
            shutil.rmtree(part, ignore_errors=True) if part.is_dir() else part.unlink(missing_ok=True)
            os.close(lock)


def _lock(path: Path) -> int | None:
    """Return the descriptor of a lock on a part; None if another process holds it, or has removed it."""
    try:
        lock = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(lock).st_ino == path.stat().st_ino:
            return lock
    except OSError:
        pass
    os.close(lock)
    return None


def shipped_folder(name: str, marker: str, what: str) -> Path:
    """Return a folder that comes with the toolkit, in which the file `marker` is: of the checkout, else of the installed package.

    Raises:
        MachineError: this installation has none; names `what` is missing.
    """
    package = Path(__file__).parent
    for folder in (package.parent / name, package / name):
        if (folder / marker).is_file():
            return folder
    raise MachineError(
        f"the {what} are not part of this installation",
        where=str(package),
        remedy="install the toolkit from its wheel or from a checkout",
    )


def csv_text(value: object) -> object:
    """A CSV cell that no spreadsheet takes for a formula: a text that begins like one gets an apostrophe."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def csv_bytes(rows: Sequence[Mapping[str, object]]) -> bytes:
    """Return CSV (RFC 4180), in UTF-8, with the columns of all rows in the order in which they first appear.

    Numbers have full precision; None is an empty cell, and booleans are "true" and "false".
    """
    text = io.StringIO(newline="")
    columns = list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows([_csv_cell(row.get(column)) for column in columns] for row in rows)
    return text.getvalue().encode()


def _csv_cell(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else csv_text(value)
