"""Locks: one controller at a time per device and per fleet.

A device's lock is held while that device is changed. A rollout's lock is held on its first device until the rollout ends, so
that a second rollout to the same devices is refused before it starts. If two rollouts started with different devices, the
later one at a shared device detects that its release has changed since the preview, and does not change it.
"""

from __future__ import annotations

import getpass
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from toolkit import fleet
from toolkit.artifacts.fleet import Device
from toolkit.deploy.session import DeviceSession, open_session
from toolkit.errors import FleetError
from toolkit.fleet import Shell


@contextmanager
def device_lock(device: Device, shell: Shell, why: str, *, break_lock: bool = False) -> Iterator[DeviceSession]:
    """Hold the device's lock for the length of a with-block, which gets the session that holds it.

    The device releases the lock when the connection drops.

    Raises:
        FleetError: somebody else holds it; says who, since when, why, and how to break it.
    """
    with open_session(device, shell) as session:
        _take(device, session, "deploy", why, break_lock=break_lock)
        yield session


@contextmanager
def rollout_lock(first: Device, why: str, *, break_lock: bool = False) -> Iterator[None]:
    """Hold a rollout's lock on the first of its devices; it is released when the controller is gone, for any reason.

    Raises:
        FleetError: another rollout is going on; says whose, since when, why, and how to break its lock.
    """
    with fleet.connect(first) as shell, open_session(first, shell) as session:
        _take(first, session, "rollout", why, break_lock=break_lock)
        yield


def operator_name() -> str:
    """Return USER@MACHINE."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


def lock_info(why: str) -> str:
    """Return who, since when and why, as one line of JSON."""
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    return json.dumps({"who": operator_name(), "pid": os.getpid(), "since": now, "why": why}, ensure_ascii=False)


def describe_lock(info: str) -> str:
    """Return a lock's info for people; the text itself if it is not JSON of this toolkit."""
    try:
        output = json.loads(info)
        return f"{output['who']} (process {output['pid']}) since {output['since'][:19]} UTC: {output['why']}"
    except (ValueError, KeyError, TypeError):
        return info or "an unknown controller"


def _take(device: Device, session: DeviceSession, name: str, why: str, *, break_lock: bool) -> None:
    answer = session.take_lock(name, lock_info(why), break_lock=break_lock)
    if answer.get("ok"):
        return
    meaning = "another rollout is running: " if name == "rollout" else ""
    if "taken" in answer:
        raise FleetError(
            f"{meaning}locked by {describe_lock(str(answer['taken']))}",
            where=device.name,
            remedy="wait for it to end; if its process has ended, remove the lock with --break-lock",
        )
    error = answer.get("error")
    reason = error.get("what") if isinstance(error, dict) else "the device gave no reason"
    raise FleetError(
        f"the lock cannot be taken: {reason}",
        where=device.name,
        remedy=f"make {device.root} writable for {device.user or 'the user'} there, and check that the disk is not full",
    )
