"""Measure bundles on devices: side by side where they are machines of their own, in a row on each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from toolkit import fleet
from toolkit.artifacts.bundle import Bundle
from toolkit.artifacts.dataset import Split
from toolkit.artifacts.fleet import Device
from toolkit.bench.plan import BenchSpec
from toolkit.bench.reconnect import PATIENCE_S, measure_on
from toolkit.bench.runners import LocalStation
from toolkit.bench.session import BenchResult, Session
from toolkit.experiment.schema import BenchConfig
from toolkit.fleet.container_images import local
from toolkit.fleet.pool import DEFAULT_LIMIT
from toolkit.progress import Progress
from toolkit.store import Store
from toolkit.workspace import Workspace

HERE = "here"
"""The name that records of this machine carry."""


def spec_of(table: BenchConfig) -> BenchSpec:
    """What an experiment file asks for."""
    return BenchSpec(
        scenarios=table.scenarios,
        seconds=table.seconds,
        queries=table.queries,
        cool_down_s=table.cool_down_s,
        seed=table.seed,
    )


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
    patience_s: float = PATIENCE_S,
) -> BenchResult:
    """Measure every bundle on every device that it is made for; each record goes to the store as soon as it is there.

    The images are the test part of `split`, by default of the split that each bundle was trained on. A device that
    fails neither stops nor hides the others; one that is lost in the middle is waited for, `patience_s` at a time, and
    gone on with. `resume` skips what former calls measured validly in the same way, with whatever else they measured.

    Raises:
        BundleError, DataError: a bundle or its images cannot be used; nothing was measured.
        MachineError, ConfigurationError: a container image that devices are to be sent is not here.
    """
    session = Session.opened(bundles, devices, spec, split, workspace, store, resume=resume)
    session = replace(session, container_images=local.images_for(devices))
    with session.showing(progress) as task:

        def work(device: Device) -> None:
            if session.steps_of(device):
                measure_on(device, session, task, patience_s)

        failed = fleet.fan_out(devices, work, forks).failed
    return session.result(list(failed.values()))


@dataclass(frozen=True, slots=True)
class Run:
    """One scenario of one bundle."""

    name: str
    scenario: str


@dataclass(frozen=True, slots=True)
class Left:
    """What a plan still has to do on a device."""

    device: str
    whole: int
    """Runs of the plan, measured or not."""
    left: tuple[Run, ...]


def what_is_left(
    bundles: Sequence[Bundle],
    devices: Sequence[Device],
    spec: BenchSpec,
    *,
    workspace: Workspace,
    store: Store,
    split: Split | None = None,
) -> tuple[Left, ...]:
    """What `bench_fleet` would do to go on with this plan; measures nothing and asks no device.

    Raises:
        BundleError, DataError: a bundle or its images cannot be used.
    """
    session = Session.opened(bundles, devices, spec, split, workspace, store, resume=True)
    return tuple(
        Left(
            device.name,
            len(session.plan.of(device)),
            tuple(Run(step.subject.name, step.scenario) for step in session.steps_of(device)),
        )
        for device in devices
    )


def local_device(accelerator: str = "CPU") -> Device:
    """This machine as the device that `bench_here` measures."""
    return Device(name=HERE, host="localhost", accelerator=accelerator)


def bench_here(
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
    """The same on this machine, by the same device code.

    Raises:
        BundleError, DataError: a bundle or its images cannot be used; nothing was measured.
    """
    device = local_device(accelerator)
    session = Session.opened(bundles, [device], spec, split, workspace, store, resume=resume)
    with session.showing(progress) as task:
        session.measure(LocalStation(workspace), session.steps_of(device), task)
    return session.result([])
