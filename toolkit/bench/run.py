"""Measure bundles on devices: in parallel on separate machines, one at a time on each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from toolkit import fleet
from toolkit.artifacts.bundle import Bundle
from toolkit.artifacts.dataset import Split
from toolkit.artifacts.fleet import Device
from toolkit.bench.reconnect import RECONNECT_TIMEOUT_S, run_with_reconnect
from toolkit.bench.runners import LocalRunner
from toolkit.bench.session import BenchResult, BenchSession
from toolkit.device.bench.spec import BenchSpec
from toolkit.fleet.container_images import local
from toolkit.fleet.pool import DEFAULT_LIMIT
from toolkit.progress import Progress
from toolkit.store import Store
from toolkit.workspace import Workspace

LOCAL = "local"
"""The device name in records of this machine."""


def bench_fleet(
    bundles: Sequence[Bundle],
    devices: Sequence[Device],
    spec: BenchSpec,
    *,
    workspace: Workspace,
    store: Store,
    progress: Progress,
    split: Split | None = None,
    forks: int = DEFAULT_LIMIT,
    resume: bool = False,
    reconnect_timeout_s: float = RECONNECT_TIMEOUT_S,
) -> BenchResult:
    """Measure every bundle on every device that it supports; each record is stored as soon as it is made.

    The images are the test subset of `split`, by default of the split that each bundle was trained on. A device that
    fails neither stops nor hides the others; a lost one is waited for, up to `reconnect_timeout_s` each time.
    `resume` skips what earlier calls measured validly in the same way, whatever else they measured.

    Raises:
        BundleError, DataError: a bundle or its images cannot be used; nothing was measured.
        MachineError, ConfigurationError: a container image that devices need is not on this machine.
    """
    session = BenchSession.prepare(bundles, devices, spec, split, workspace, store, resume=resume)
    session = replace(session, container_images=local.images_for(devices))
    with session.progress_bar(progress) as task:

        def work(device: Device) -> None:
            if session.remaining_steps(device):
                run_with_reconnect(device, session, task, reconnect_timeout_s)

        failed = fleet.fan_out(devices, work, forks).failed
    return session.result(list(failed.values()))


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One scenario of one bundle."""

    name: str
    scenario: str


@dataclass(frozen=True, slots=True)
class RemainingRuns:
    """The runs of a plan that remain for a device."""

    device: str
    total: int
    """Runs of the plan, measured or not."""
    remaining: tuple[PlannedRun, ...]


def remaining_runs(
    bundles: Sequence[Bundle],
    devices: Sequence[Device],
    spec: BenchSpec,
    *,
    workspace: Workspace,
    store: Store,
    split: Split | None = None,
) -> tuple[RemainingRuns, ...]:
    """Return the runs that `bench_fleet` with `resume` would make, without connecting to devices.

    Raises:
        BundleError, DataError: a bundle or its images cannot be used.
    """
    session = BenchSession.prepare(bundles, devices, spec, split, workspace, store, resume=True)
    return tuple(
        RemainingRuns(
            device.name,
            len(session.plan.of(device)),
            tuple(PlannedRun(step.target.name, step.scenario) for step in session.remaining_steps(device)),
        )
        for device in devices
    )


def local_device(accelerator: str = "CPU") -> Device:
    """Return this machine as a device, for `bench_local`."""
    return Device(name=LOCAL, host="localhost", accelerator=accelerator)


def bench_local(
    bundles: Sequence[Bundle],
    spec: BenchSpec,
    *,
    workspace: Workspace,
    store: Store,
    progress: Progress,
    split: Split | None = None,
    accelerator: str = "CPU",
    resume: bool = False,
) -> BenchResult:
    """Do the same as `bench_fleet` on this machine, with the same device code.

    Raises:
        BundleError, DataError: a bundle or its images cannot be used; nothing was measured.
    """
    device = local_device(accelerator)
    session = BenchSession.prepare(bundles, [device], spec, split, workspace, store, resume=resume)
    with session.progress_bar(progress) as task, LocalRunner(device, workspace) as runner:
        session.measure(runner, session.remaining_steps(device), task)
    return session.result([])
