"""A bundle onto devices: look, probe → plan → send → verify → golden → switch, each device by itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from toolkit import digests, fleet
from toolkit.artifacts import Deployment, Device
from toolkit.deploy import commands, health, trust
from toolkit.deploy.lock import locked
from toolkit.deploy.plan import DeployPlan, is_served, make_plan
from toolkit.deploy.serving import look
from toolkit.fleet import FleetResult, Shell, transfer
from toolkit.fleet.pool import DEFAULT_LIMIT, problem_of
from toolkit.fleet.transfer import Survey, Tree
from toolkit.progress import Progress, Silent
from toolkit.store import Store


def plan_rollout(
    bundle: Path, devices: Sequence[Device], *, forks: int = DEFAULT_LIMIT, progress: Progress | None = None
) -> FleetResult[DeployPlan]:
    """What `deploy` would do on each device; looks, and changes nothing.

    Raises:
        BundleError: the bundle is not what its manifest says.
    """
    tree = transfer.release_tree(bundle)

    def ask(device: Device) -> DeployPlan:
        with fleet.connect(device) as shell:
            plan, _ = _plan(tree, device, shell)
            return plan

    return fleet.fan_out(devices, ask, forks, progress=progress, title="planning")


def deploy(
    bundle: Path,
    devices: Sequence[Device],
    *,
    store: Store | None = None,
    forks: int = DEFAULT_LIMIT,
    progress: Progress | None = None,
    break_lock: bool = False,
) -> FleetResult[Deployment]:
    """Make every device serve the bundle; on each, the old release serves until the new one has proved itself there.

    Every outcome is kept in `store` as it comes. Devices that serve it already are "unchanged" and sent nothing.

    Raises:
        BundleError: the bundle is not what its manifest says; no device was touched.
    """
    tree = transfer.release_tree(bundle)
    journal = Journal(store, progress or Silent())

    def work(device: Device) -> Deployment:
        start = time.monotonic()
        try:
            outcome, sent = _deploy_one(tree, device, break_lock=break_lock)
        except Exception as error:
            problem = problem_of(device, error)
            journal.add(outcome_of(tree.parent, device, tree.digest, "failed", start, reason=problem.what))
            raise
        return journal.add(outcome_of(tree.parent, device, tree.digest, outcome, start, sent_bytes=sent))

    return fleet.fan_out(devices, work, forks, progress=progress, title="deploying")


def _deploy_one(tree: Tree, device: Device, *, break_lock: bool) -> tuple[str, int]:
    """The outcome and the bytes sent."""
    with fleet.connect(device) as shell:
        plan, known = _plan(tree, device, shell)
        if not plan.steps:
            return "unchanged", 0
        with locked(device, shell, f"deploy {tree.parent[:12]}", break_lock=break_lock):
            return "deployed", apply(plan, tree, device, shell, known)


def _plan(tree: Tree, device: Device, shell: Shell) -> tuple[DeployPlan, Survey]:
    """Two cheap looks first: a device that serves it already need not be probed, which takes it seconds."""
    known = transfer.survey(shell, device, tree, commands.releases_path(tree.digest))
    refused = any(trust.unsigned(tree, device))
    if not refused and is_served(tree, look(device, shell).release, known):
        return DeployPlan(device.name, tree.digest, ()), known
    return make_plan(tree, device, fleet.probe(device, shell), known), known


def apply(plan: DeployPlan, tree: Tree, device: Device, shell: Shell, known: Survey) -> int:
    """Do what the plan says and give the bytes sent; the switch comes last, so a failure leaves the old release.

    Raises:
        FleetError: a step failed; says which, and why.
    """
    sent = 0
    if plan.has("send"):
        sent = transfer.stage(shell, device, tree, commands.releases_path(tree.digest), known)
    if plan.has("verify"):
        health.check_bytes(device, shell, tree.digest)
    if plan.has("golden"):
        health.check_answers(device, shell, tree.digest)
    if plan.has("switch"):
        shell.run(commands.switch(device, tree.digest)).check(device, "switching to the new release")
    return sent


def outcome_of(
    bundle: str, device: Device, release: str, outcome: str, start: float, *, reason: str = "", sent_bytes: int = 0
) -> Deployment:
    """The record of it; `start` by time.monotonic()."""
    at = datetime.now(UTC).isoformat(timespec="microseconds")
    return Deployment(
        digest=digests.of_value([bundle, device.name, release, outcome, at]),
        parent=bundle,
        device=device.name,
        release=release,
        outcome=outcome,
        reason=reason,
        sent_bytes=sent_bytes,
        seconds=round(time.monotonic() - start, 3),
        at=at,
    )


class Journal:
    """Keeps each outcome as it comes, from whichever thread, so that an interruption loses none."""

    def __init__(self, store: Store | None, progress: Progress) -> None:
        self._store, self._progress, self._lock = store, progress, threading.Lock()

    def add(self, deployment: Deployment) -> Deployment:
        """Into the store, and a line for people."""
        with self._lock:
            if self._store is not None:
                self._store.put(deployment)
        sent = f", {deployment.sent_bytes / 1e6:,.1f} MB sent" if deployment.sent_bytes else ""
        self._progress.say(f"  {deployment.device}: {deployment.outcome} in {deployment.seconds:.1f} s{sent}")
        return deployment
