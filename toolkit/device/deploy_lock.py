"""Lock for changes to a device, shared with deployments over SSH (toolkit.deploy.lock)."""

from __future__ import annotations

import json
import os
import shutil
import socket
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Dict, Iterator

from .errors import DeviceError

_OWNER_PREFIX = "device@"


@contextmanager
def deploy_lock(root: Path, why: str) -> Iterator[None]:
    """Hold ROOT/deploy.lock for the length of a with-block.

    A lock from before the last boot, or of a process of this code that has ended, is taken over.

    Raises:
        DeviceError: the lock is held; names the holder.
    """
    lock = root / "deploy.lock"
    root.mkdir(parents=True, exist_ok=True)
    if lock.exists() and _is_stale(lock):
        shutil.rmtree(lock, ignore_errors=True)  # if it remains, mkdir fails right below
    try:
        lock.mkdir()
    except FileExistsError:
        info = _info(lock)
        raise DeviceError(
            f"locked by {info.get('who', 'somebody')} since {info.get('since', 'some time')}: {info.get('why', '')}",
            where=str(lock),
            remedy="wait for it to end; if it is gone for good, remove this folder",
        ) from None
    try:
        since = datetime.now(timezone.utc).isoformat(timespec="microseconds")
        who = {"who": _OWNER_PREFIX + socket.gethostname(), "pid": os.getpid(), "since": since, "why": why}
        (lock / "info").write_text(json.dumps(who) + "\n", encoding="utf-8")
        (lock / "boot").write_text(_boot(), encoding="utf-8")
        yield
    finally:
        shutil.rmtree(lock, ignore_errors=True)  # if it remains, it is stale once this process has ended


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8")
    except OSError:
        return "\n"


def _is_stale(lock: Path) -> bool:
    try:
        if (lock / "boot").read_text(encoding="utf-8") != _boot():
            return True
    except OSError:
        return False
    info = _info(lock)
    return str(info.get("who", "")).startswith(_OWNER_PREFIX) and not Path("/proc", str(info.get("pid"))).exists()


def _info(lock: Path) -> Dict[str, Any]:
    try:
        info = json.loads((lock / "info").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return info if isinstance(info, dict) else {}
