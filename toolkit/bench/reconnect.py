"""Measure on a device that may disconnect: wait for it, continue, and leave the rest to a later call if it stays away."""

from __future__ import annotations

import time
from contextlib import ExitStack, suppress

from toolkit import fleet
from toolkit.artifacts.fleet import Device
from toolkit.bench.runners import RemoteRunner
from toolkit.bench.session import BenchSession
from toolkit.errors import FleetError
from toolkit.fleet import Shell
from toolkit.progress import Task

RECONNECT_TIMEOUT_S = 120.0
"""Longer than a restart of a Pi takes."""
IDLE_TIMEOUT_S = 5.0
"""How long a benchmark of a killed controller may take to end."""
_PAUSE_S = 2.0


def run_with_reconnect(
    device: Device, session: BenchSession, task: Task, timeout_s: float = RECONNECT_TIMEOUT_S
) -> None:
    """Run the remaining steps of a device; after each disconnection, wait up to `timeout_s` for it.

    Raises:
        FleetError: the device could not be reached at all, did not come back, or was lost at the same run again and again.
    """
    with fleet.connect(device) as shell:
        lost = _measure(shell, device, session, task, IDLE_TIMEOUT_S)
    remaining = None
    while lost and len(session.remaining_steps(device)) != remaining:
        remaining = len(session.remaining_steps(device))
        with ExitStack() as stack:
            again = _reconnect(device, stack, time.monotonic() + timeout_s)
            if again is None:
                break
            lost = _measure(again, device, session, task, timeout_s)
    if lost:
        raise _lost_error(device, session, lost)


def _measure(shell: Shell, device: Device, session: BenchSession, task: Task, idle_s: float) -> FleetError | None:
    """Return the error of the disconnection, or None if all steps were attempted."""
    image = session.container_images[device.container_image] if device.container_image else None
    try:
        with RemoteRunner(shell, device, image) as runner:
            runner.wait_until_idle(idle_s)
            session.measure(runner, session.remaining_steps(device), task)
    except FleetError as error:
        return error
    return None


def _reconnect(device: Device, stack: ExitStack, end: float) -> Shell | None:
    """Return a new connection, or None if there is none by `end`."""
    while time.monotonic() < end:
        time.sleep(_PAUSE_S)
        with suppress(FleetError):
            return stack.enter_context(fleet.connect(device))
    return None


def _lost_error(device: Device, session: BenchSession, lost: FleetError) -> FleetError:
    remaining, total = len(session.remaining_steps(device)), len(session.plan.of(device))
    return FleetError(
        f"lost after {total - remaining} of {total} runs: {lost.problems[0].what}",
        where=device.name,
        remedy=f"once it is back, run the same command with --resume for the remaining {remaining}",
    )
