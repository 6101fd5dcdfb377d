"""The rollout to one device: preview, apply, revert. Each runs under the device's own lock."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace

from toolkit import fleet
from toolkit.artifacts.fleet import Device, DeviceFacts
from toolkit.bundle.release import with_container_image
from toolkit.deploy import signature_policy
from toolkit.deploy.gates.gate import FirstBatchGate, Gate, GateContext, GateRun
from toolkit.deploy.lock import device_lock, operator_name
from toolkit.deploy.plan import DeployPlan, is_served, make_plan
from toolkit.deploy.session import AuditSubject, DeviceSession
from toolkit.deploy.status import DeviceStatus, read_status
from toolkit.device.layout import release_path
from toolkit.errors import FleetError
from toolkit.fleet import Shell
from toolkit.fleet.container_images import remote
from toolkit.fleet.container_images.local import ContainerImage
from toolkit.fleet.facts import runtime_facts
from toolkit.fleet.open_connections import RECENT_S, OpenConnections
from toolkit.fleet.pool import problem_of
from toolkit.fleet.transfer import staging
from toolkit.fleet.transfer.diff import RemoteState
from toolkit.fleet.transfer.staging import TransferOptions
from toolkit.fleet.transfer.tree import FileTree


@dataclass(frozen=True, slots=True)
class DeviceState:
    """The state of a device before the rollout."""

    status: DeviceStatus
    facts: DeviceFacts
    files: RemoteState
    seen_at: float
    """When, by time.monotonic()."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """The plan for a device, and its state before the rollout."""

    plan: DeployPlan
    before: DeviceState | None
    """None if nothing has to be done."""
    machine: str = ""
    """See RemoteState."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """The result of applying a release to a device."""

    sent_bytes: int
    gates: dict[str, str]
    """The message of each gate."""
    repaired: tuple[str, ...]
    """Paths that had wrong bytes and were replaced."""


@dataclass(frozen=True, slots=True)
class _DeviceSession:
    """A device that is being changed, its session, and the bundle that it served before."""

    device: Device
    shell: Shell
    session: DeviceSession
    bundle: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRollout:
    """What all devices of a rollout have in common."""

    tree: FileTree
    """The release without a container image."""
    variants: Mapping[str, tuple[FileTree, str]] = field(default_factory=dict)
    """Releases of other variants of the model, by the device's name, each with the reason for it."""
    container_images: Mapping[str, ContainerImage] = field(default_factory=dict)
    """By the inventory's name."""
    gates: Sequence[Gate]
    transfer: TransferOptions | None = None
    rollout: str = ""
    break_lock: bool = False
    connections: OpenConnections = field(default_factory=lambda: OpenConnections(0))

    def release_for(self, device: Device) -> FileTree:
        """Return the release for one device."""
        tree, _ = self.variants.get(device.name, (self.tree, ""))
        container_image = self._container_image(device)
        return tree if container_image is None else with_container_image(tree, container_image.reference)

    def preview(self, device: Device) -> Preview:
        """Return what has to be done; a device that already serves the release is not probed. Changes nothing.

        Raises:
            FleetError: the device cannot be reached, cannot run the release or has no room for it.
        """
        tree = self.release_for(device)
        with self.connections.connect(device, leave_open=True) as shell:
            known = self._survey(device, shell)
            refused = any(signature_policy.missing_signature(tree, device))
            if not refused and is_served(tree, known.current, known) and self._has_container_image(device, shell):
                return Preview(plan=DeployPlan(device.name, tree.digest, ()), before=None, machine=known.machine)
            facts, missing_image = runtime_facts(device, shell, self._container_image(device))
            before = DeviceState(read_status(device, shell), facts, known, time.monotonic())
            return Preview(
                plan=make_plan(tree, device, facts, known, self.gates, missing_image),
                before=before,
                machine=known.machine,
            )

    def apply(self, device: Device, before: DeviceState) -> Applied:
        """Apply the release; the switch comes after the gates, so a failure leaves the old release in place.

        Raises:
            FleetError: a step or a gate failed, or somebody else has changed the device since its status was read.
        """
        with self.connections.connect(device) as shell, self._locked(device, shell, "deploy") as session:
            tree, seen = self.release_for(device), before.status.release
            if session.release not in {seen, tree.digest}:
                raise _moved(device, seen, session.release)
            bundle = before.status.bundle if session.release == seen else tree.parent
            attempt = _DeviceSession(device, shell, session, bundle)
            try:
                plan, sent = self._send(attempt, before)
            except Exception as error:
                self._note_failure(attempt, problem_of(device, error).what)
                raise
            return self._activate(attempt, plan, sent)

    def revert(self, device: Device, seen: DeviceStatus, why: str) -> DeviceStatus | None:
        """Return to the earlier release if this one is served; None if nothing had to be done.

        A device that served nothing before keeps the release: it has proved itself there.
        """
        with self.connections.connect(device) as shell, self._locked(device, shell, "take back") as session:
            own = self.release_for(device).digest
            if session.release != own or seen.release in {None, own}:
                return None
            session.restore(seen.release, seen.previous, self._audit, {"outcome": "taken-back", "reason": why})
            return read_status(device, shell)

    @property
    def _audit(self) -> AuditSubject:
        return AuditSubject(who=operator_name(), what="deploy", rollout=self.rollout)

    def _locked(self, device: Device, shell: Shell, what: str) -> AbstractContextManager[DeviceSession]:
        return device_lock(device, shell, f"{what} {self.release_for(device).parent[:12]}", break_lock=self.break_lock)

    def _survey(self, device: Device, shell: Shell) -> RemoteState:
        tree = self.release_for(device)
        return staging.read_remote_state(shell, device, tree, release_path(tree.digest))

    def _container_image(self, device: Device) -> ContainerImage | None:
        return self.container_images[device.container_image] if device.container_image else None

    def _has_container_image(self, device: Device, shell: Shell) -> bool:
        container_image = self._container_image(device)
        return container_image is None or remote.is_there(
            container_image, remote.inspect_image(device, shell, container_image)
        )

    def _send(self, attempt: _DeviceSession, before: DeviceState) -> tuple[DeployPlan, int]:
        """Send what is missing: the container image first, because the release's requirements are probed in it."""
        device, shell = attempt.device, attempt.shell
        facts, sent, container_image = before.facts, 0, self._container_image(device)
        if container_image is not None:
            sent = remote.ensure_image(device, shell, container_image, facts.machine, self.transfer)
            facts = fleet.probe_in_image(facts, device, shell, container_image.reference)
        # What has gone since a recent look is asked for by the receiver.
        recent = container_image is None and time.monotonic() - before.seen_at < RECENT_S
        known = before.files if recent else self._survey(device, shell)
        session, tree = attempt.session, self.release_for(device)
        facts = replace(facts, current=session.release, previous=session.previous)
        plan = make_plan(tree, device, facts, known, self.gates)
        if plan.has("send"):
            place = release_path(tree.digest)
            sent += staging.stage(shell, device, tree, place, known, self.transfer, session.receive)
        return plan, sent

    def _activate(self, attempt: _DeviceSession, plan: DeployPlan, sent: int) -> Applied:
        """Let the device activate the release, which puts the old one back if a gate fails after the switch."""
        device, tree = attempt.device, self.release_for(attempt.device)
        context = GateContext(device, attempt.shell, tree.digest, tree, attempt.bundle)
        run = GateRun(context, [gate for gate in self.gates if plan.has(gate.name)])
        try:
            passed = attempt.session.activate(tree.digest, run, self._audit)
        finally:
            self._note_comparisons(attempt)
        if self._container_image(device) is not None and self.transfer is not None and self.transfer.keep is not None:
            remote.prune_images(device, attempt.shell)
        return Applied(sent_bytes=sent, gates=passed, repaired=plan.damaged)

    def _note_comparisons(self, attempt: _DeviceSession) -> None:
        """Append what gates of the first batch measured to the device's audit log, best effort."""
        lineage = {"release": self.release_for(attempt.device).digest, "replaced": attempt.session.release}
        for gate in self.gates:
            entry = gate.audit_entry(attempt.device) if isinstance(gate, FirstBatchGate) else None
            if entry is not None:
                with suppress(FleetError):
                    attempt.session.note(self._audit, {**lineage, **entry})

    def _note_failure(self, attempt: _DeviceSession, reason: str) -> None:
        """Append to the device's audit log, best effort: without room or connection the line is lost."""
        entry = {"release": self.release_for(attempt.device).digest, "replaced": attempt.session.release}
        with suppress(FleetError):
            attempt.session.note(self._audit, {**entry, "outcome": "failed", "reason": reason})


def _moved(device: Device, seen: str | None, now: str | None) -> FleetError:
    before, after = ((release or "nothing")[:12] for release in (seen, now))
    return FleetError(
        f"another user changed it during this rollout: it served {before}, and now serves {after}",
        where=device.name,
        remedy="see toolkit status and its audit log (toolkit fleet logs), then run the command again",
    )
