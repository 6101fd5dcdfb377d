"""Lock for one benchmark at a time on a device; the kernel releases it however the process ends."""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Iterator

from ..errors import DeviceEnvironmentError, DeviceError
from ..layout import BENCH_LOCK


@contextmanager
def bench_lock(root: Path) -> Iterator[None]:
    """Hold ROOT/bench.lock for the length of a with-block.

    Raises:
        DeviceError: another process holds the lock; names it and the time.
        DeviceEnvironmentError: the lock file cannot be written.
    """
    path = root / BENCH_LOCK
    try:
        root.mkdir(parents=True, exist_ok=True)
        handle = _open(path)
    except OSError as error:
        raise DeviceEnvironmentError(
            f"cannot be written: {error.strerror}", where=str(path), remedy="name a folder by --root"
        ) from None
    try:
        _acquire(handle, path)
        yield
    finally:
        os.close(handle)


def _open(path: Path) -> int:
    """Open the lock file; for reading only if it belongs to another user, who sees the lock all the same."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except PermissionError:
        return os.open(path, os.O_RDONLY)


def _acquire(handle: int, path: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise DeviceError(
            f"another benchmark is running here: {_holder(handle)}", where=str(path), remedy="wait for it, or stop it"
        ) from None
    if fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        return
    os.ftruncate(handle, 0)
    since = datetime.now(timezone.utc).isoformat(timespec="seconds")
    os.pwrite(handle, json.dumps({"pid": os.getpid(), "since": since}).encode(), 0)


def _holder(handle: int) -> str:
    try:
        holder = json.loads(os.pread(handle, 1000, 0))
    except ValueError:
        return "it has just started"
    return f"process {holder['pid']}, since {holder['since']}"
