"""Back to the release before."""

from __future__ import annotations

import time
from collections.abc import Sequence

from toolkit import fleet
from toolkit.artifacts import Deployment, Device
from toolkit.deploy import commands, health
from toolkit.deploy.lock import locked
from toolkit.deploy.rollout import Journal, outcome_of
from toolkit.deploy.serving import look
from toolkit.errors import FleetError
from toolkit.fleet import FleetResult, Shell
from toolkit.fleet.pool import DEFAULT_LIMIT
from toolkit.progress import Progress, Silent
from toolkit.store import Store


def rollback(
    devices: Sequence[Device],
    *,
    store: Store | None = None,
    forks: int = DEFAULT_LIMIT,
    progress: Progress | None = None,
    break_lock: bool = False,
) -> FleetResult[Deployment]:
    """Make every device serve its previous release, after checking that it is whole; a second time goes forth again."""
    journal = Journal(store, progress or Silent())

    def work(device: Device) -> Deployment:
        start = time.monotonic()
        with fleet.connect(device) as shell, locked(device, shell, "rollback", break_lock=break_lock):
            release = _switch_back(device, shell)
            bundle = look(device, shell).bundle or ""
        return journal.add(outcome_of(bundle, device, release, "rolled-back", start))

    return fleet.fan_out(devices, work, forks, progress=progress, title="rolling back")


def _switch_back(device: Device, shell: Shell) -> str:
    """The release that serves now."""
    found = look(device, shell)
    if found.previous is None or found.previous == found.release:
        raise FleetError("has no previous release", where=device.name, remedy="deploy the bundle that you want instead")
    health.check_bytes(device, shell, found.previous)
    shell.run(commands.switch_back(device, found.previous)).check(device, "switching back")
    return found.previous
