"""Back to the release before."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from toolkit import fleet
from toolkit.artifacts.fleet import Device
from toolkit.deploy import commands
from toolkit.deploy.device_rollout import audit_line
from toolkit.deploy.gates import health
from toolkit.deploy.hooks import Hooks
from toolkit.deploy.lock import fleet_locked, locked
from toolkit.deploy.rollout_log import Journal, RolloutResult, record_of
from toolkit.deploy.status import Serving, look
from toolkit.errors import FleetError
from toolkit.fleet import FleetResult
from toolkit.fleet.pool import DEFAULT_LIMIT
from toolkit.progress import Progress, Silent
from toolkit.store import Store


def plan_rollback(
    devices: Sequence[Device], *, forks: int = DEFAULT_LIMIT, progress: Progress | None = None
) -> FleetResult[Serving]:
    """What each device serves, and what it would serve then (`previous`); changes nothing."""
    return fleet.fan_out(devices, _look, forks, progress=progress, title="looking")


def rollback(
    devices: Sequence[Device],
    *,
    hooks: Path | None = None,
    store: Store | None = None,
    forks: int = DEFAULT_LIMIT,
    progress: Progress | None = None,
    break_lock: bool = False,
) -> RolloutResult:
    """Make every device serve its previous release, after checking that it is whole; a second time goes forth again.

    Raises:
        FleetError: a rollout is going on, or the hook pre-rollback failed; no device was touched.
    """
    told = progress or Silent()
    journal = Journal(store, told)
    run = _Rollback(journal=journal, hooks=Hooks(hooks, journal.rollout, told, {}), break_lock=break_lock)
    found = plan_rollback(devices, forks=forks, progress=progress)
    for device, error in found.errors.items():
        journal.fail(device, error, record_of("", device, "", "failed", time.monotonic()))
    if found.ok:
        going = tuple(found.ok)
        with fleet_locked(going[0], f"rollback of {len(going)} devices", break_lock=break_lock):
            run.hooks.run("pre-rollback", going)
            fleet.fan_out(going, run.take, forks, progress=progress, title="rolling back")
            failed = [device for device in going if journal.outcome(device) == "failed"]
            run.hooks.run_after("post-rollback", going, failed)
    return journal.result(devices, wanted=frozenset({"rolled-back"}))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rollback:
    journal: Journal
    hooks: Hooks
    break_lock: bool

    def take(self, device: Device) -> None:
        """One device; an error of it is in the journal."""
        start = time.monotonic()
        try:
            release, bundle = self._switch(device)
        except FleetError as error:
            self.journal.fail(device, error, record_of("", device, "", "failed", start, batch=1))
        else:
            self.journal.add(record_of(bundle, device, release, "rolled-back", start, batch=1))

    def _switch(self, device: Device) -> tuple[str, str]:
        """The release that serves now, and its bundle."""
        with fleet.connect(device) as shell, locked(device, shell, "rollback", break_lock=self.break_lock):
            found = _reversible(device, look(device, shell))
            assert found.previous is not None  # noqa: S101 - that is what _reversible sees to
            health.check_bytes(device, shell, found.previous)
            shell.run(commands.switch_back(device, found.previous)).check(device, "switching back")
            health.restart(device, shell)
            line = audit_line("rollback", found.previous, found.release, "rolled-back", rollout=self.journal.rollout)
            with suppress(FleetError):
                shell.run(commands.audit(device, line))
            return found.previous, look(device, shell).bundle or ""


def _look(device: Device) -> Serving:
    with fleet.connect(device) as shell:
        return _reversible(device, look(device, shell))


def _reversible(device: Device, found: Serving) -> Serving:
    if found.previous is None or found.previous == found.release:
        raise FleetError("has no previous release", where=device.name, remedy="deploy the bundle that you want instead")
    return found
