"""A device that is lost in the middle: waited for, gone on with, and left to a later call if it stays away."""

from __future__ import annotations

import time
from contextlib import ExitStack, suppress

from toolkit import fleet
from toolkit.artifacts.fleet import Device
from toolkit.bench.runners import RemoteStation
from toolkit.bench.session import Session
from toolkit.errors import FleetError
from toolkit.fleet import Shell
from toolkit.progress import Task

PATIENCE_S = 120.0
"""A Pi restarts in less."""
LEFT_BEHIND_S = 5.0
"""How long a benchmark may take to end whose controller was killed."""
_PAUSE_S = 2.0


def measure_on(device: Device, session: Session, task: Task, patience_s: float = PATIENCE_S) -> None:
    """All that is left to do on a device; after each loss it may stay away for `patience_s`.

    Raises:
        FleetError: it could not be reached at all, did not come back, or is lost at the same run again and again; says
            what is left.
    """
    with fleet.connect(device) as shell:
        lost = _measured(shell, device, session, task, LEFT_BEHIND_S)
    left = None
    while lost and len(session.steps_of(device)) != left:
        left = len(session.steps_of(device))
        with ExitStack() as stack:
            again = _back(device, stack, time.monotonic() + patience_s)
            if again is None:
                break
            lost = _measured(again, device, session, task, patience_s)
    if lost:
        raise _given_up(device, session, lost)


def _measured(shell: Shell, device: Device, session: Session, task: Task, idle_s: float) -> FleetError | None:
    """Why the device was lost, or None: everything was tried."""
    station = RemoteStation(
        shell, device, session.container_images[device.container_image] if device.container_image else None
    )
    try:
        station.wait_until_idle(idle_s)
        session.measure(station, session.steps_of(device), task)
    except FleetError as error:
        return error
    return None


def _back(device: Device, stack: ExitStack, end: float) -> Shell | None:
    """A new connection, or None if there is none by `end`."""
    while time.monotonic() < end:
        time.sleep(_PAUSE_S)
        with suppress(FleetError):
            return stack.enter_context(fleet.connect(device))
    return None


def _given_up(device: Device, session: Session, lost: FleetError) -> FleetError:
    left, whole = len(session.steps_of(device)), len(session.plan.of(device))
    return FleetError(
        f"lost after {whole - left} of {whole} runs: {lost.problems[0].what}",
        where=device.name,
        remedy=f"when it is back, the same command with --resume goes on with the {left} that are left",
    )
