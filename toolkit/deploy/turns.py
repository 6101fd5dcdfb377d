"""One device at a time: look at it, give it the release, take the release back. Each under the device's own lock."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from toolkit import fleet
from toolkit.artifacts import Device, DeviceFacts
from toolkit.deploy import commands, health, trust
from toolkit.deploy.gates import Gate, Ground
from toolkit.deploy.lock import locked, who
from toolkit.deploy.plan import DeployPlan, is_served, make_plan
from toolkit.deploy.serving import Serving, look
from toolkit.errors import FleetError
from toolkit.fleet import Shell, transfer
from toolkit.fleet.pool import problem_of
from toolkit.fleet.transfer import Sending, Survey, Tree


@dataclass(frozen=True, slots=True)
class Before:
    """A device as the rollout found it."""

    seen: Serving
    facts: DeviceFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Prospect:
    """What was found on a device before the rollout began, and what is to be done there."""

    plan: DeployPlan
    before: Before | None
    """None where nothing is to be done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a device's turn came to."""

    sent_bytes: int
    gates: dict[str, str]
    """What each gate found, in words."""
    mended: tuple[str, ...]
    """What lay there and had the wrong bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turns:
    """What is the same for all devices of a rollout."""

    tree: Tree
    gates: Sequence[Gate]
    sending: Sending | None = None
    rollout: str = ""
    break_lock: bool = False

    def look(self, device: Device) -> Prospect:
        """A cheap look first: a device that serves it already is not probed, which takes it seconds. Changes nothing.

        Raises:
            FleetError: the device cannot be reached, cannot run the release or has no room for it.
        """
        with fleet.connect(device) as shell:
            known = self._survey(device, shell)
            refused = any(trust.unsigned(self.tree, device))
            if not refused and is_served(self.tree, known.current, known):
                return Prospect(plan=DeployPlan(device.name, self.tree.digest, ()), before=None)
            before = Before(look(device, shell), fleet.probe(device, shell))
            return Prospect(plan=self._plan(device, before.facts, known), before=before)

    def take(self, device: Device, before: Before) -> Done:
        """Do what is needed now; the switch comes after the gates, so a failure leaves the old release.

        Raises:
            FleetError: a step or a gate failed, or somebody else has changed the device since it was looked at.
        """
        with fleet.connect(device) as shell, self._locked(device, shell, "deploy"):
            now = look(device, shell)
            if now.release not in {before.seen.release, self.tree.digest}:
                raise _moved(device, before.seen, now)
            known = self._survey(device, shell)
            facts = replace(before.facts, current=now.release, previous=now.previous)
            plan = self._plan(device, facts, known)
            try:
                done = self._apply(plan, Ground(device, shell, self.tree, now.bundle), now, known)
            except Exception as error:
                self._note(device, shell, now, "failed", problem_of(device, error).what)
                raise
            self._note(device, shell, now, "deployed")
            return done

    def give_back(self, device: Device, seen: Serving, why: str) -> Serving | None:
        """Make the device serve what it was seen to serve, if it serves this release; None: there was nothing to do.

        A device that served nothing before keeps the release: it has proved itself there.
        """
        with fleet.connect(device) as shell, self._locked(device, shell, "take back"):
            now = look(device, shell)
            if now.release != self.tree.digest or seen.release in {None, self.tree.digest}:
                return None
            self._restore(device, shell, seen)
            self._note(device, shell, now, "taken-back", why)
            return look(device, shell)

    def _locked(self, device: Device, shell: Shell, what: str) -> AbstractContextManager[None]:
        return locked(device, shell, f"{what} {self.tree.parent[:12]}", break_lock=self.break_lock)

    def _survey(self, device: Device, shell: Shell) -> Survey:
        return transfer.survey(shell, device, self.tree, commands.releases_path(self.tree.digest))

    def _plan(self, device: Device, facts: DeviceFacts, known: Survey) -> DeployPlan:
        return make_plan(self.tree, device, facts, known, self.gates)

    def _apply(self, plan: DeployPlan, ground: Ground, now: Serving, known: Survey) -> Done:
        device, shell, sent = ground.device, ground.shell, 0
        if plan.has("send"):
            place = commands.releases_path(self.tree.digest)
            sent = transfer.stage(shell, device, self.tree, place, known, self.sending)
        found = _asked(self._planned(plan, after_switch=False), ground)
        if plan.has("switch"):
            shell.run(commands.switch(device, self.tree.digest)).check(device, "switching to the new release")
            try:
                health.restart(device, shell)
                found |= _asked(self._planned(plan, after_switch=True), ground)
            except Exception as error:  # whatever a gate raises, the old release serves again
                raise self._put_back(device, shell, now, error) from error
        return Done(sent_bytes=sent, gates=found, mended=plan.damaged)

    def _planned(self, plan: DeployPlan, *, after_switch: bool) -> Iterable[Gate]:
        return (gate for gate in self.gates if plan.has(gate.name) and gate.after_switch is after_switch)

    def _put_back(self, device: Device, shell: Shell, old: Serving, error: Exception) -> FleetError:
        """Undo the switch on the spot; the error then tells what serves."""
        problem = problem_of(device, error)
        try:
            self._restore(device, shell, old)
        except FleetError as second:
            told = f"and what served before could not be put back: {problem_of(device, second).what}"
        else:
            told = f"{(old.release or 'nothing')[:12]} serves again"
        return FleetError(f"{problem.what}; {told}", where=device.name, remedy=problem.remedy)

    def _restore(self, device: Device, shell: Shell, old: Serving) -> None:
        words = commands.restore(device, old.release, old.previous)
        shell.run(words).check(device, "putting back what served before")
        health.restart(device, shell)

    def _note(self, device: Device, shell: Shell, before: Serving, outcome: str, reason: str = "") -> None:
        """Into the device's own log; a device that cannot take it, having no room or no connection, loses the line."""
        line = audit_line("deploy", self.tree.digest, before.release, outcome, reason, self.rollout)
        with suppress(FleetError):
            shell.run(commands.audit(device, line))


def audit_line(
    what: str, release: str | None, replaced: str | None, outcome: str, reason: str = "", rollout: str = ""
) -> str:
    """One JSON object, by the controller's clock: the device's own may be off by years."""
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    told = {"at": at, "who": who(), "rollout": rollout, "what": what, "release": release, "replaced": replaced}
    return json.dumps(told | {"outcome": outcome, "reason": reason}, ensure_ascii=False)


def _asked(gates: Iterable[Gate], ground: Ground) -> dict[str, str]:
    return {gate.name: gate.check(ground) for gate in gates}


def _moved(device: Device, seen: Serving, now: Serving) -> FleetError:
    before, after = ((each.release or "nothing")[:12] for each in (seen, now))
    return FleetError(
        f"somebody else has changed it since this rollout looked: it served {before}, and now {after}",
        where=device.name,
        remedy="see toolkit status and its audit log (toolkit fleet logs), then run the command again",
    )
