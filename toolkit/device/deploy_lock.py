"""Locks for changes to a device, one for each name.

ROOT/deploy.lock/    there while somebody changes the device: `info` says who, since when and why; `boot` and `pid` tell
                     whether the lock is left over from before a restart, or from a process that has ended
ROOT/rollout.lock/   the same, on the first device of a rollout, while it goes on

A lock comes and goes whole, by a rename: a process that is killed at any time leaves none that nobody could tell stale.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Dict, Iterator, Optional

from .errors import DeviceError
from .layout import LOCK_BOOT, LOCK_INFO, LOCK_PID, LOCKS


class LockTakenError(DeviceError):
    """Somebody else holds the lock; `info` is what they wrote."""

    def __init__(self, lock: Path, info: str) -> None:
        self.info = info
        holder = _parsed(info)
        super().__init__(
            f"locked by {holder.get('who', 'somebody')} since {holder.get('since', 'some time')}: {holder.get('why', '')}",
            where=str(lock),
            remedy="wait for it to end; if it is gone for good, remove this folder",
        )


@contextmanager
def deploy_lock(
    root: Path, why: str = "", *, name: str = "deploy", info: Optional[str] = None, break_lock: bool = False
) -> Iterator[None]:
    """Hold the lock `name` of `layout.LOCKS` for the length of a with-block.

    A lock from before the last boot, or of a process that has ended, is taken over; with `break_lock`, any is. `info` is
    what the lock says of its holder, one line of JSON; by default this device and `why`.

    Raises:
        LockTakenError: the lock is held; names the holder.
        OSError: the lock cannot be made.
    """
    lock, text = root / LOCKS[name], info if info is not None else _own_info(why)
    root.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(lock)
    if lock.exists() and (break_lock or _is_stale(lock)):
        _take_away(lock)
    try:
        _make(lock, text)
        yield
    finally:
        if _read(lock / LOCK_INFO) == text:
            _take_away(lock)  # if it remains, it is stale once this process has ended


def _make(lock: Path, text: str) -> None:
    """Make a lock beside its place, and rename it.

    Raises:
        LockTakenError: the lock is held.
    """
    new = lock.with_name(f"{lock.name}.{os.getpid()}.new")
    try:
        new.mkdir()
        for name, content in ((LOCK_PID, f"{os.getpid()}\n"), (LOCK_BOOT, _boot()), (LOCK_INFO, text + "\n")):
            (new / name).write_text(content, encoding="utf-8")
        new.rename(lock)  # replaces an empty folder, and nothing else
    except OSError as error:
        shutil.rmtree(new, ignore_errors=True)
        if error.errno in {errno.ENOTEMPTY, errno.EEXIST}:
            raise LockTakenError(lock, _read(lock / LOCK_INFO)) from None
        raise


def open_shared(path: Path) -> None:
    """Create a lock file, if it is not there, so that others than its owner can lock it."""
    with suppress(OSError):
        os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))


def _own_info(why: str) -> str:
    since = datetime.now(timezone.utc).isoformat(timespec="microseconds")
    who = {"who": "device@" + socket.gethostname(), "pid": os.getpid(), "since": since, "why": why}
    return json.dumps(who)


def _remove_abandoned(lock: Path) -> None:
    """Remove what killed processes left of locks that they were making or removing."""
    for path in lock.parent.glob(f"{lock.name}.*"):
        pid = path.name[len(lock.name) + 1 :].partition(".")[0]
        if pid.isdecimal() and not _runs(int(pid)):
            shutil.rmtree(path, ignore_errors=True)


def _take_away(lock: Path) -> None:
    """Remove a lock; renamed first, so that of two who do this at once only one removes it."""
    away = lock.with_name(f"{lock.name}.{os.getpid()}")
    with suppress(OSError):  # if it remains, mkdir fails right after
        lock.rename(away)
        shutil.rmtree(away, ignore_errors=True)  # under its new name, what remains locks nothing


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8")
    except OSError:
        return "\n"


def _is_stale(lock: Path) -> bool:
    boot, pid = _read(lock / LOCK_BOOT), _read(lock / LOCK_PID)
    if boot and boot != _boot().strip():
        return True
    return pid.isdecimal() and not _runs(int(pid))


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _parsed(info: str) -> Dict[str, Any]:
    try:
        parsed = json.loads(info)
    except (ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) else {}
