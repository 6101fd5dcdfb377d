"""File lock between processes; the kernel releases it however its holder ends.

It works between all processes that see the same folder, also on other machines if the file system supports locks (NFS does).
It is a POSIX lock, which belongs to the process and is not inherited by forks: libraries fork, and a leftover fork would
hold an inherited lock forever.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def file_lock(path: Path, *, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock `path` for the length of a with-block; `waiting` is called once if another has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):  # as POSIX has it, either
            waiting()
            fcntl.lockf(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
