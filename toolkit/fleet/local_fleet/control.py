"""Control of the local fleet: real SSH servers on loopback ports, in one process, for trials and tests.

A lock held by the process shows whether it runs. A stale pid file is therefore never mistaken for a running server, and
another program with the same pid is never ended.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from toolkit.artifacts.fleet import Device
from toolkit.errors import MachineError, UsageError
from toolkit.files import atomic_write
from toolkit.fleet.inventory.load import load_inventory
from toolkit.workspace import Workspace

DEFAULT_COUNT = 3
STOPPING_S = 10.0
_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class LocalFleet:
    """A started local fleet."""

    inventory: Path
    devices: tuple[Device, ...]
    started: bool
    """False if it was running already."""


def up(workspace: Workspace, count: int | None = None, allowed_signers: Path | None = None) -> LocalFleet:
    """Start the fleet, or leave it alone if it runs with as many devices (`count` None: as many as there are).

    From then on its devices take only what `allowed_signers` lets be signed; None leaves what each device has.

    Raises:
        MachineError: its process did not start; says what its log says.
        UsageError: there is no such file.
    """
    signers = None if allowed_signers is None else _read(allowed_signers)
    fleet = workspace.folder("fleet").absolute()
    running = _running(fleet)
    started = running is None or count not in {None, running[1]}
    if started:
        down(workspace)
        _start(fleet, count or DEFAULT_COUNT)
    devices = load_inventory(fleet / "inventory.yml")
    if signers is not None:
        _trust(devices, signers)
    return LocalFleet(fleet / "inventory.yml", devices, started=started)


def _read(allowed_signers: Path) -> bytes:
    try:
        return allowed_signers.read_bytes()
    except OSError as error:
        raise UsageError(
            f"cannot be read: {error.strerror}",
            where=str(allowed_signers),
            remedy="give a file with one line per signer: NAME KEYTYPE KEY",
        ) from None


def _trust(devices: Sequence[Device], signers: bytes) -> None:
    """Install the allowed signers, as Ansible's role runner does on a real device."""
    for device in devices:
        with atomic_write(Path(device.root) / "allowed_signers") as stream:
            stream.write(signers)


def down(workspace: Workspace) -> bool:
    """End the fleet's process and wait for it; False if none ran. Folders, keys and ports stay for the next `up`."""
    fleet = workspace.root.absolute() / "fleet"
    running = _running(fleet)
    if running is None:
        return False
    os.kill(running[0], signal.SIGTERM)
    deadline = time.monotonic() + STOPPING_S
    while _running(fleet) is not None:
        if time.monotonic() > deadline:
            os.kill(running[0], signal.SIGKILL)
            deadline = time.monotonic() + STOPPING_S
        time.sleep(_POLL_S)
    return True


def _running(fleet: Path) -> tuple[int, int] | None:
    """Return the server's pid and its number of devices, or None if no process holds its lock."""
    try:
        with (fleet / "server.pid").open("r+") as lock:
            while _is_held(lock):
                lock.seek(0)
                if output := lock.read():
                    result = json.loads(output)
                    return result["pid"], result["count"]
                time.sleep(_POLL_S)  # it is just starting or ending
    except FileNotFoundError:
        pass
    return None


def _is_held(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _start(fleet: Path, count: int) -> None:
    """A process of its own session, adopted by init, that says "ready" once all devices answer."""
    argv = [sys.executable, "-m", "toolkit.fleet.local_fleet.server", str(fleet), str(count)]
    with (
        (fleet / "server.log").open("wb") as log,
        subprocess.Popen(
            ["/bin/sh", "-c", '"$@" &', "sh", *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
            cwd=fleet,
        ) as process,
    ):
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        ready = process.stdout.readline() == b"ready\n"
    if not ready:
        output = (fleet / "server.log").read_text(errors="replace").strip().splitlines()[-3:]
        raise MachineError(
            f"the local fleet did not start: {'; '.join(output) or 'no reason given'}",
            where=str(fleet / "server.log"),
            remedy="install the extra: pip install 'edge-vision-toolkit[fleet]'",
        )
