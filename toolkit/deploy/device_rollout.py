"""The rollout to one device: preview, apply, revert. Each runs under the device's own lock."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from toolkit import fleet
from toolkit.artifacts.fleet import Device, DeviceFacts
from toolkit.bundle.release import with_container_image
from toolkit.deploy import commands, signature_policy
from toolkit.deploy.gates import health
from toolkit.deploy.gates.gate import Gate, GateContext, IntegrityGate
from toolkit.deploy.lock import device_lock, operator_name
from toolkit.deploy.plan import DeployPlan, is_served, make_plan
from toolkit.deploy.status import DeviceStatus, read_status
from toolkit.errors import FleetError
from toolkit.fleet import Shell
from toolkit.fleet.container_images import remote
from toolkit.fleet.container_images.local import ContainerImage
from toolkit.fleet.facts import runtime_facts
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


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRollout:
    """What all devices of a rollout have in common."""

    tree: FileTree
    """The release without a container image."""
    container_images: Mapping[str, ContainerImage] = field(default_factory=dict)
    """By the inventory's name."""
    gates: Sequence[Gate]
    sending: TransferOptions | None = None
    rollout: str = ""
    break_lock: bool = False

    def tree_of(self, device: Device) -> FileTree:
        """Return the release for one device."""
        container_image = self._container_image(device)
        return self.tree if container_image is None else with_container_image(self.tree, container_image.reference)

    def preview(self, device: Device) -> Preview:
        """Return what has to be done; a device that already serves the release is not probed. Changes nothing.

        Raises:
            FleetError: the device cannot be reached, cannot run the release or has no room for it.
        """
        tree = self.tree_of(device)
        with fleet.connect(device) as shell:
            known = self._survey(device, shell)
            refused = any(signature_policy.missing_signature(tree, device))
            if not refused and is_served(tree, known.current, known) and self._has_container_image(device, shell):
                return Preview(plan=DeployPlan(device.name, tree.digest, ()), before=None, machine=known.machine)
            facts, missing_image = runtime_facts(device, shell, self._container_image(device))
            before = DeviceState(read_status(device, shell), facts)
            return Preview(
                plan=make_plan(tree, device, facts, known, self.gates, missing_image),
                before=before,
                machine=known.machine,
            )

    def apply(self, device: Device, before: DeviceState) -> Applied:
        """Apply the release; the switch comes after the gates, so a failure leaves the old release in place.

        Raises:
            FleetError: a step or a gate failed, or somebody else has changed the device since it was looked at.
        """
        with fleet.connect(device) as shell, self._locked(device, shell, "deploy"):
            now = read_status(device, shell)
            if now.release not in {before.status.release, self.tree_of(device).digest}:
                raise _moved(device, before.status, now)
            try:
                done = self._do(device, shell, before, now)
            except Exception as error:
                self._note(device, shell, now, "failed", problem_of(device, error).what)
                raise
            self._note(device, shell, now, "deployed")
            return done

    def revert(self, device: Device, seen: DeviceStatus, why: str) -> DeviceStatus | None:
        """Return to the earlier release if this one is served; None if nothing had to be done.

        A device that served nothing before keeps the release: it has proved itself there.
        """
        with fleet.connect(device) as shell, self._locked(device, shell, "take back"):
            now = read_status(device, shell)
            own = self.tree_of(device).digest
            if now.release != own or seen.release in {None, own}:
                return None
            self._restore(device, shell, seen)
            self._note(device, shell, now, "taken-back", why)
            return read_status(device, shell)

    def _locked(self, device: Device, shell: Shell, what: str) -> AbstractContextManager[None]:
        return device_lock(device, shell, f"{what} {self.tree.parent[:12]}", break_lock=self.break_lock)

    def _survey(self, device: Device, shell: Shell) -> RemoteState:
        tree = self.tree_of(device)
        return staging.read_remote_state(shell, device, tree, commands.releases_path(tree.digest))

    def _container_image(self, device: Device) -> ContainerImage | None:
        return self.container_images[device.container_image] if device.container_image else None

    def _has_container_image(self, device: Device, shell: Shell) -> bool:
        container_image = self._container_image(device)
        return container_image is None or remote.is_there(
            container_image, remote.inspect_image(device, shell, container_image)
        )

    def _do(self, device: Device, shell: Shell, before: DeviceState, now: DeviceStatus) -> Applied:
        """Bring the container image first, because the release's requirements are probed in it; then apply the plan."""
        facts, sent, container_image = before.facts, 0, self._container_image(device)
        if container_image is not None:
            sent = remote.ensure_image(device, shell, container_image, facts.machine, self.sending)
            facts = fleet.probe_in_image(facts, device, shell, container_image.reference)
        known = self._survey(device, shell)
        facts = replace(facts, current=now.release, previous=now.previous)
        tree = self.tree_of(device)
        plan = make_plan(tree, device, facts, known, self.gates)
        done = self._apply(plan, GateContext(device, shell, tree, now.bundle), now, known)
        if container_image is not None and self.sending is not None and self.sending.keep is not None:
            remote.prune_images(device, shell)
        return replace(done, sent_bytes=done.sent_bytes + sent)

    def _apply(self, plan: DeployPlan, context: GateContext, now: DeviceStatus, known: RemoteState) -> Applied:
        device, shell, tree, sent = context.device, context.shell, context.tree, 0
        if plan.has("send"):
            place, verify = commands.releases_path(tree.digest), plan.has(IntegrityGate.name)
            staged = staging.stage_and_verify(shell, device, tree, place, known, self.sending, verify=verify)
            context, sent = replace(context, verified=staged.verified), staged.sent_bytes
        result = _asked(self._planned(plan, after_switch=False), context)
        if plan.has("switch"):
            shell.run(commands.switch(device, tree.digest)).check(device, "switching to the new release")
            try:
                health.restart(device, shell)
                result |= _asked(self._planned(plan, after_switch=True), context)
            except Exception as error:  # whatever a gate raises, the old release serves again
                raise self._put_back(device, shell, now, error) from error
        return Applied(sent_bytes=sent, gates=result, repaired=plan.damaged)

    def _planned(self, plan: DeployPlan, *, after_switch: bool) -> Iterable[Gate]:
        return (gate for gate in self.gates if plan.has(gate.name) and gate.after_switch is after_switch)

    def _put_back(self, device: Device, shell: Shell, old: DeviceStatus, error: Exception) -> FleetError:
        """Revert the switch, and return an error that says what is served now."""
        problem = problem_of(device, error)
        try:
            self._restore(device, shell, old)
        except FleetError as second:
            message = f"and what served before could not be put back: {problem_of(device, second).what}"
        else:
            message = f"{(old.release or 'nothing')[:12]} serves again"
        return FleetError(f"{problem.what}; {message}", where=device.name, remedy=problem.remedy)

    def _restore(self, device: Device, shell: Shell, old: DeviceStatus) -> None:
        argv = commands.restore(device, old.release, old.previous)
        shell.run(argv).check(device, "putting back what served before")
        health.restart(device, shell)

    def _note(self, device: Device, shell: Shell, before: DeviceStatus, outcome: str, reason: str = "") -> None:
        """Append to the device's audit log, best effort: without room or connection the line is lost."""
        line = audit_line("deploy", self.tree_of(device).digest, before.release, outcome, reason, self.rollout)
        with suppress(FleetError):
            shell.run(commands.audit(device, line))


def audit_line(
    what: str, release: str | None, replaced: str | None, outcome: str, reason: str = "", rollout: str = ""
) -> str:
    """Return one JSON object with the controller's time: a device's clock may be off by years."""
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    message = {
        "at": at,
        "who": operator_name(),
        "rollout": rollout,
        "what": what,
        "release": release,
        "replaced": replaced,
    }
    return json.dumps(message | {"outcome": outcome, "reason": reason}, ensure_ascii=False)


def _asked(gates: Iterable[Gate], context: GateContext) -> dict[str, str]:
    return {gate.name: gate.check(context) for gate in gates}


def _moved(device: Device, seen: DeviceStatus, now: DeviceStatus) -> FleetError:
    before, after = ((each.release or "nothing")[:12] for each in (seen, now))
    return FleetError(
        f"somebody else has changed it since this rollout looked: it served {before}, and now {after}",
        where=device.name,
        remedy="see toolkit status and its audit log (toolkit fleet logs), then run the command again",
    )
