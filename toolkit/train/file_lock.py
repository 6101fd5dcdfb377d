"""What two processes must not do at once: a lock that the kernel gives back however its holder ends.

It holds among all that see the same folder, on other machines too where the file system passes locks on (NFS does). It is
the process's, POSIX's kind, which its forks do not inherit: libraries fork, and a forgotten fork would hold it for ever.
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
