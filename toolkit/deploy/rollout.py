"""Roll a bundle out to a fleet, batch by batch; a failure stops the rest and rolls back the changed devices.

    read status ─▶ lock ─▶ pre-deploy ─▶ (pre-batch ─▶ devices in parallel ─▶ post-batch ─▶ pause)… ─▶ post-deploy
                                            └ too many failures, or a failed soak: skip the others, roll back the changed ones

A device that cannot be reached or cannot run the release is left out from the start and counts as failed, but does not stop
the rollout, because it says nothing about the release. A device that fails during its deployment does.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from toolkit import fleet
from toolkit.artifacts.fleet import Deployment, Device
from toolkit.bundle.bill_of_materials import write_bills
from toolkit.bundle.model_variants import SelectedVariant
from toolkit.bundle.release import release_tree
from toolkit.deploy.device_rollout import DeviceRollout, DeviceState, Preview
from toolkit.deploy.gates.gate import REQUIRED_GATES, FirstBatchGate, Gate, HealthGate
from toolkit.deploy.gates.shadow_gate import DEFAULT_AGREEMENT, FindLabeled, ShadowGate, ShadowOptions
from toolkit.deploy.gates.soak import Samples, Soak
from toolkit.deploy.gates.speed_gate import SpeedGate, load_baselines
from toolkit.deploy.hooks import Hooks
from toolkit.deploy.lock import rollout_lock
from toolkit.deploy.plan import DeployPlan
from toolkit.deploy.rollout_log import RolloutLog, RolloutResult, deployment_record
from toolkit.deploy.strategy import Batch, BatchSize, Strategy, check_groups, is_too_many, make_batches, parse_sizes
from toolkit.errors import ConfigurationError, FleetError, Problem, ToolkitError
from toolkit.experiment.schema import DeployConfig
from toolkit.fleet import FleetResult
from toolkit.fleet.container_images import local
from toolkit.fleet.open_connections import MOST_OPEN, OpenConnections
from toolkit.fleet.pool import DEFAULT_LIMIT
from toolkit.fleet.transfer.staging import TransferOptions
from toolkit.fleet.transfer.tree import FileTree
from toolkit.progress import Progress, Silent
from toolkit.store import Store

_CAREFUL = Strategy()
_SEE_LOG = "see its log: toolkit fleet logs --limit {}"


def strategy_from_config(table: DeployConfig) -> Strategy:
    """Return the rollout strategy of a configuration.

    Raises:
        UsageError: a batch size is invalid.
    """
    return Strategy(
        batches=parse_sizes(table.batch) if table.batch else None,
        groups=table.groups,
        pause_s=table.pause_s,
        max_failures=BatchSize.parse(table.max_failures),
        auto_rollback=table.auto_rollback,
    )


def shadow_from_config(table: DeployConfig) -> ShadowOptions | None:
    """Return the comparison on live frames of a configuration; None if it asks for none."""
    if not table.shadow_s:
        return None
    agreement = table.shadow_agreement or (None if table.shadow_accuracy else DEFAULT_AGREEMENT)
    return ShadowOptions(seconds=table.shadow_s, agreement=agreement, accuracy=table.shadow_accuracy)


def gates_from_config(
    table: DeployConfig,
    store: Store,
    shadow: ShadowOptions | None = None,
    progress: Progress | None = None,
    find_labeled: FindLabeled = lambda *_: (),
) -> tuple[Gate, ...]:
    """Return the gates of a configuration; `store` has the measured speeds, and takes the results of `shadow`."""
    beside = [ShadowGate(shadow, store.put, (progress or Silent()).log, find_labeled)] if shadow else []
    speed = [SpeedGate(table.min_speed, load_baselines(store))] if table.min_speed else []
    healthy = [HealthGate(table.health_s)] if table.health_s else []
    return (*REQUIRED_GATES, *beside, *speed, *healthy)


def plan_rollout(
    bundle: Path,
    devices: Sequence[Device],
    *,
    variants: Mapping[str, SelectedVariant] | None = None,
    gates: Sequence[Gate] = REQUIRED_GATES,
    forks: int = DEFAULT_LIMIT,
    progress: Progress | None = None,
) -> FleetResult[DeployPlan]:
    """Return what `deploy` would do on each device; changes nothing. `variants`: as there.

    Raises:
        BundleError: the bundle is not what its manifest says.
        MachineError, ConfigurationError: a container image that devices are to be sent is not here.
    """
    device_rollout = DeviceRollout(
        tree=release_tree(bundle),
        variants=_variant_trees(variants),
        container_images=local.images_for(devices),
        gates=gates,
    )
    previews = fleet.fan_out(devices, device_rollout.preview, forks, progress=progress, title="planning")
    check_distinct(previews.ok)
    return FleetResult({device: preview.plan for device, preview in previews.ok.items()}, previews.errors)


def _variant_trees(variants: Mapping[str, SelectedVariant] | None) -> dict[str, tuple[FileTree, str]]:
    """Return the release of each device's variant; every bundle is read once."""
    trees = {folder: release_tree(folder) for folder in {variant.folder for variant in (variants or {}).values()}}
    return {device: (trees[variant.folder], variant.why) for device, variant in (variants or {}).items()}


def check_distinct(previews: Mapping[Device, Preview]) -> None:
    """Check that no two names of the inventory lead to one device, which would be changed by two tasks at once.

    Raises:
        ConfigurationError: some do; names them.
    """
    names: dict[str, list[str]] = {}
    for device, preview in previews.items():
        names.setdefault(preview.machine or device.name, []).append(device.name)
    problems = [
        Problem(f"{' and '.join(same)} are the same device", same[0], "list it once, or give each its own toolkit_root")
        for same in names.values()
        if len(same) > 1
    ]
    if problems:
        raise ConfigurationError.from_problems(problems)


def deploy(
    bundle: Path,
    devices: Sequence[Device],
    *,
    variants: Mapping[str, SelectedVariant] | None = None,
    strategy: Strategy = _CAREFUL,
    gates: Sequence[Gate] = REQUIRED_GATES,
    hooks: Path | None = None,
    transfer: TransferOptions | None = None,
    store: Store | None = None,
    bills: Path | None = None,
    forks: int = DEFAULT_LIMIT,
    progress: Progress | None = None,
    break_lock: bool = False,
    soak: Soak | None = None,
) -> RolloutResult:
    """Deploy the bundle to every device; the old release serves until the new one has passed the gates there.

    With `soak`, the devices are watched afterwards, and a release that fails then is rolled back like one that fails its gates.

    `variants` are other bundles of the same model, by the names of the devices that get them instead.

    Every outcome is kept in `store` as it comes. Devices that serve it already are "unchanged" and sent nothing. `hooks` is
    the folder of those (see toolkit.deploy.hooks). The release's bill of materials and VEX document go to the folder `bills`.

    Raises:
        BundleError: the bundle is not what its manifest says; no device was touched.
        UsageError: `strategy` names a group that no device is in.
        MachineError, ConfigurationError: a container image that devices are to be sent is not here.
        FleetError: another rollout is going on, or the hook pre-deploy failed; no device was touched.
    """
    tree, others = release_tree(bundle), _variant_trees(variants)
    container_images = local.images_for(devices)
    if bills is not None:
        trees = {bundle: tree, **{one.folder: others[name][0] for name, one in (variants or {}).items()}}
        references = ("", *sorted({one.reference for one in container_images.values()}))
        for folder, each in trees.items():
            for reference in references:
                write_bills(each, folder, bills, container_image=reference)
    check_groups(devices, strategy)
    message = progress or Silent()
    log = RolloutLog(store, message)
    rollout = _Rollout(
        device_rollout=DeviceRollout(
            tree=tree,
            variants=others,
            container_images=container_images,
            gates=gates,
            transfer=transfer,
            rollout=log.rollout,
            break_lock=break_lock,
            connections=OpenConnections(MOST_OPEN),
        ),
        strategy=strategy,
        hooks=Hooks(hooks, log.rollout, message, {"TOOLKIT_BUNDLE": tree.parent, "TOOLKIT_RELEASE": tree.digest}),
        log=log,
        forks=forks,
        progress=message,
        soak=soak,
    )
    try:
        rollout.run(devices)
    finally:
        rollout.device_rollout.connections.close()
    return log.result(devices)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rollout:
    device_rollout: DeviceRollout
    strategy: Strategy
    hooks: Hooks
    log: RolloutLog
    forks: int
    progress: Progress
    soak: Soak | None = None

    def run(self, devices: Sequence[Device]) -> None:
        """Run the rollout; outcomes are in the log."""
        previews = self._preview(devices)
        waiting = {device: preview.before for device, preview in previews.items() if preview.before}
        if not waiting:
            return
        first, *_ = waiting
        why = f"deploy {self.device_rollout.tree.parent[:12]} to {len(waiting)} devices"
        with rollout_lock(first, why, break_lock=self.device_rollout.break_lock):
            self.hooks.run("pre-deploy", tuple(waiting))
            before = self.soak.sample(tuple(waiting)) if self.soak else {}
            self._go_through(waiting)
            if self.soak and not self.log.stopped:
                self._watch(self.soak, waiting, before)
            self.hooks.run_after("post-deploy", tuple(waiting), self._not_deployed(waiting))

    def _preview(self, devices: Sequence[Device]) -> Mapping[Device, Preview]:
        start = time.monotonic()
        previews = fleet.fan_out(
            devices, self.device_rollout.preview, self.forks, progress=self.progress, title="looking"
        )
        check_distinct(previews.ok)
        for device, error in previews.errors.items():
            self.log.fail(device, error, self._record(device, "failed", start))
        for device, preview in previews.ok.items():
            if preview.before is None:
                self.device_rollout.connections.close(device)
                self.log.add(self._record(device, "unchanged", start))
        return previews.ok

    def _go_through(self, waiting: Mapping[Device, DeviceState]) -> None:
        batches = make_batches(tuple(waiting), self.strategy)
        for batch in batches:
            if batch.number > 1:
                time.sleep(self.strategy.pause_s)
            self._give(batch, batches, waiting)
            if self.log.stopped:
                self._skip(batches)
                self._take_back(waiting)
                return

    def _watch(self, soak: Soak, waiting: Mapping[Device, DeviceState], before: Samples) -> None:
        """Watch the new release, and roll it back if it fails; Ctrl-C ends the watch and changes nothing."""
        deployed = [device for device in waiting if self.log.outcome(device) == "deployed"]
        if not deployed:
            return
        self.progress.log(f"watching {len(deployed)} devices for {soak.seconds:g} s")
        try:
            result = soak.run({device: self.device_rollout.release_for(device).digest for device in deployed}, before)
        except KeyboardInterrupt:
            self.progress.log("the watch was interrupted: the release stays, and later problems go unnoticed")
            raise
        for device, summary in result.summaries.items():
            self.log.add_gate(device, "soak", summary)
        for device, why in result.failed.items():
            self.log.add_problem(
                device, FleetError(f"failed after the rollout: {why}", remedy=_SEE_LOG.format(device.name))
            )
        if result.failed:
            device, why = next(iter(result.failed.items()))
            self.log.stopped = f"{device.name} failed {result.seconds:g} s after the rollout: {why}"
            self._take_back(waiting)

    def _give(self, batch: Batch, batches: Sequence[Batch], waiting: Mapping[Device, DeviceState]) -> None:
        """Deploy to one batch, with its hooks."""
        place = f"{batch.number}/{len(batches)}"
        try:
            self.hooks.run("pre-batch", batch.devices, TOOLKIT_BATCH=place)
        except ToolkitError as error:
            self.log.stopped = error.problems[0].what
            return

        def work(device: Device) -> None:
            if not self.log.stopped:
                self._deploy_one(device, waiting[device], batch, batches)

        title = f"batch {place}{f', {batch.group}' if batch.group else ''}"
        fleet.fan_out(batch.devices, work, self.forks, progress=self.progress, title=title)
        self.hooks.run_after("post-batch", batch.devices, self._not_deployed(batch.devices), TOOLKIT_BATCH=place)

    def _deploy_one(self, device: Device, before: DeviceState, batch: Batch, batches: Sequence[Batch]) -> None:
        start = time.monotonic()
        try:
            done = self._rollout_of(batch).apply(device, before)
        except Exception as error:  # noqa: BLE001 - one device's bug must not take the others along; it is reported
            self.log.fail(device, error, self._record(device, "failed", start, batch=batch.number))
            self._stop_if_too_many(batch, batches)
            return
        message = f"repaired there: {', '.join(done.repaired)}" if done.repaired else ""
        more = {"reason": message, "sent_bytes": done.sent_bytes, "gates": done.gates}
        self.log.add(self._record(device, "deployed", start, batch=batch.number, **more))

    def _rollout_of(self, batch: Batch) -> DeviceRollout:
        """Return the rollout with the gates of a batch."""
        rollout = self.device_rollout
        if batch.number == 1:
            return rollout
        return replace(rollout, gates=[gate for gate in rollout.gates if not isinstance(gate, FirstBatchGate)])

    def _stop_if_too_many(self, batch: Batch, batches: Sequence[Batch]) -> None:
        failed, allowed = self.log.failed_devices, self.strategy.max_failures
        if not is_too_many(failed, batch, batches, self.strategy):
            return
        if batch.number == 1 and len(batches) > 1:
            self.log.stopped = f"{failed} of the first batch failed, so no other device is changed"
        else:
            limit = f"{allowed.number}{'%' if allowed.percent else ''}"
            self.log.stopped = f"{failed} failed until batch {batch.number}, and --max-failures is {limit}"

    def _skip(self, batches: Sequence[Batch]) -> None:
        for batch in batches:
            for device in batch.devices:
                if not self.log.outcome(device):
                    message = self._record(device, "skipped", time.monotonic(), reason=self.log.stopped)
                    self.log.add(message)

    def _take_back(self, waiting: Mapping[Device, DeviceState]) -> None:
        """Revert every device that was tried: one that failed may have switched before its connection was lost."""
        had = [device for device in waiting if self.log.outcome(device) in {"deployed", "failed"}]
        if not self.strategy.auto_rollback or not had:
            return
        self.progress.log(f"rolling back: {self.log.stopped}")

        def back(device: Device) -> None:
            start = time.monotonic()
            now = self.device_rollout.revert(device, waiting[device].status, self.log.stopped)
            if now is not None and self.log.outcome(device) == "deployed":
                reason = f"rolled back: {self.log.stopped}"
                message = deployment_record(
                    now.bundle or "", device, now.release or "", "rolled-back", start, reason=reason
                )
                self.log.add(message)

        reverted = fleet.fan_out(had, back, self.forks, progress=self.progress, title="rolling back")
        for device, error in reverted.errors.items():
            if self.log.outcome(device) == "deployed":
                self.log.add_problem(device, _not_rolled_back(device, error))

    def _not_deployed(self, devices: Sequence[Device] | Mapping[Device, DeviceState]) -> list[Device]:
        return [device for device in devices if self.log.outcome(device) != "deployed"]

    def _record(self, device: Device, outcome: str, start: float, **more: Any) -> Deployment:
        tree = self.device_rollout.release_for(device)
        _, why = self.device_rollout.variants.get(device.name, (tree, ""))
        return deployment_record(tree.parent, device, tree.digest, outcome, start, variant_reason=why, **more)


def _not_rolled_back(device: Device, error: Exception) -> FleetError:
    return FleetError(
        f"the release could not be rolled back: {error}",
        where=device.name,
        remedy=f"once it can be reached: toolkit rollback --limit {device.name}",
    )
