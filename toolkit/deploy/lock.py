"""One controller at a time per device."""

from __future__ import annotations

import getpass
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from toolkit.artifacts import Device
from toolkit.deploy import commands
from toolkit.errors import FleetError
from toolkit.fleet import Shell


@contextmanager
def locked(device: Device, shell: Shell, why: str, *, break_lock: bool = False) -> Iterator[None]:
    """Hold the device's lock for the length of a with-block; the device itself frees it when the connection drops.

    Raises:
        FleetError: somebody else holds it; says who, since when, why, and how to break it.
    """
    with shell.hold(commands.lock(device, lock_info(why), break_lock=break_lock)) as said:
        if said != "held":
            raise _refused(device, said)
        yield


def lock_info(why: str) -> str:
    """Who, since when and why, as JSON on one line."""
    who = f"{getpass.getuser()}@{socket.gethostname()}"
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    return json.dumps({"who": who, "pid": os.getpid(), "since": now, "why": why}, ensure_ascii=False)


def describe_lock(info: str) -> str:
    """The info for people; whatever it says if it is not ours."""
    try:
        said = json.loads(info)
        return f"{said['who']} (process {said['pid']}) since {said['since'][:19]} UTC: {said['why']}"
    except (ValueError, KeyError, TypeError):
        return info or "nobody who says so"


def _refused(device: Device, said: str) -> FleetError:
    if said.startswith("taken"):
        return FleetError(
            f"locked by {describe_lock(said.removeprefix('taken').strip())}",
            where=device.name,
            remedy="wait for it to end; if it is gone for good, break the lock with --break-lock",
        )
    return FleetError(
        f"the lock {said or 'cannot be taken'}",
        where=device.name,
        remedy=f"make {device.root} writable for {device.user or 'the user'} there; see whether the disk is full",
    )
