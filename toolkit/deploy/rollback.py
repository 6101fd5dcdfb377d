"""Roll devices back to their previous release."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit import fleet
from toolkit.artifacts.fleet import Device
from toolkit.deploy.gates.gate import GateContext, GateRun, IntegrityGate
from toolkit.deploy.hooks import Hooks
from toolkit.deploy.lock import device_lock, operator_name, rollout_lock
from toolkit.deploy.rollout_log import RolloutLog, RolloutResult, deployment_record
from toolkit.deploy.session import AuditSubject
from toolkit.deploy.status import DeviceStatus, read_status
from toolkit.errors import FleetError
from toolkit.fleet import FleetResult
from toolkit.fleet.pool import DEFAULT_LIMIT
from toolkit.progress import Progress, Silent
from toolkit.store import Store


def plan_rollback(
    devices: Sequence[Device], *, forks: int = DEFAULT_LIMIT, progress: Progress | None = None
) -> FleetResult[DeviceStatus]:
    """Return the status of each device, with the release it would return to (`previous`); changes nothing."""
    return fleet.fan_out(devices, _read_reversible, forks, progress=progress, title="reading the status")


def rollback(
    devices: Sequence[Device],
    *,
    hooks: Path | None = None,
    store: Store | None = None,
    forks: int = DEFAULT_LIMIT,
    progress: Progress | None = None,
    break_lock: bool = False,
) -> RolloutResult:
    """Roll every device back to its previous release after verifying it; running it again returns to the newer one.

    Raises:
        FleetError: a rollout is going on, or the hook pre-rollback failed; no device was touched.
    """
    message = progress or Silent()
    log = RolloutLog(store, message)
    run = _Rollback(log=log, hooks=Hooks(hooks, log.rollout, message, {}), break_lock=break_lock)
    current = plan_rollback(devices, forks=forks, progress=progress)
    for device, error in current.errors.items():
        log.fail(device, error, deployment_record("", device, "", "failed", time.monotonic()))
    if current.ok:
        going = tuple(current.ok)
        with rollout_lock(going[0], f"rollback of {len(going)} devices", break_lock=break_lock):
            run.hooks.run("pre-rollback", going)
            fleet.fan_out(going, run.take, forks, progress=progress, title="rolling back")
            failed = [device for device in going if log.outcome(device) == "failed"]
            run.hooks.run_after("post-rollback", going, failed)
    return log.result(devices, expected=frozenset({"rolled-back"}))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rollback:
    log: RolloutLog
    hooks: Hooks
    break_lock: bool

    def take(self, device: Device) -> None:
        """Roll one device back; its error goes to the log."""
        start = time.monotonic()
        try:
            release, bundle = self._switch(device)
        except FleetError as error:
            self.log.fail(device, error, deployment_record("", device, "", "failed", start, batch=1))
        else:
            self.log.add(deployment_record(bundle, device, release, "rolled-back", start, batch=1))

    def _switch(self, device: Device) -> tuple[str, str]:
        """Return the release that is served now, and its bundle."""
        why, audit = "rollback", AuditSubject(who=operator_name(), what="rollback", rollout=self.log.rollout)
        with fleet.connect(device) as shell, device_lock(device, shell, why, break_lock=self.break_lock) as session:
            current = _reversible(device, read_status(device, shell))
            assert current.previous is not None  # noqa: S101 - that is what _reversible sees to
            context = GateContext(device, shell, current.previous, None, current.bundle)
            gates = GateRun(context, (IntegrityGate(),))
            session.activate(current.previous, gates, audit, outcome="rolled-back", back=True)
            return current.previous, read_status(device, shell).bundle or ""


def _read_reversible(device: Device) -> DeviceStatus:
    with fleet.connect(device) as shell:
        return _reversible(device, read_status(device, shell))


def _reversible(device: Device, current: DeviceStatus) -> DeviceStatus:
    if current.previous is None or current.previous == current.release:
        raise FleetError("has no previous release", where=device.name, remedy="deploy the bundle that you want instead")
    return current
