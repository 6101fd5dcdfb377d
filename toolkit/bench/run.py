"""Measure bundles on devices: side by side where they are machines of their own, in a row on each."""

from __future__ import annotations

from collections.abc import Sequence

from toolkit import fleet
from toolkit.artifacts import Bundle, Device, Split, Workspace
from toolkit.bench.plan import BenchSpec
from toolkit.bench.session import BenchResult, Session
from toolkit.bench.stations import LocalStation, RemoteStation
from toolkit.experiment import BenchTable
from toolkit.fleet.pool import DEFAULT_LIMIT
from toolkit.progress import Progress
from toolkit.store import Store

HERE = "here"
"""The name that records of this machine carry."""


def spec_of(table: BenchTable) -> BenchSpec:
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
) -> BenchResult:
    """Measure every bundle on every device that it is made for; each record goes to the store as soon as it is there.

    The pictures are the test part of `split`, by default of the split that each bundle was trained on. A device that
    fails neither stops nor hides the others. `resume` skips what a former call with the same plan measured validly.

    Raises:
        BundleError, DataError: a bundle or its pictures cannot be used; nothing was measured.
    """
    session = Session.opened(bundles, devices, spec, split, workspace, store, resume=resume)
    with session.showing(progress) as task:

        def work(device: Device) -> None:
            steps = session.steps_of(device)
            if steps:
                with fleet.connect(device) as shell:
                    session.measure(RemoteStation(shell, device), steps, task)

        failed = fleet.fan_out(devices, work, forks).failed
    return session.result(list(failed.values()))


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
        BundleError, DataError: a bundle or its pictures cannot be used; nothing was measured.
    """
    device = Device(name=HERE, host="localhost", accelerator=accelerator)
    session = Session.opened(bundles, [device], spec, split, workspace, store, resume=resume)
    with session.showing(progress) as task:
        session.measure(LocalStation(workspace), session.steps_of(device), task)
    return session.result([])
