"""A plan over several models survives a device that is lost and a controller that is killed, and goes on later."""

from __future__ import annotations

import dataclasses
import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from toolkit.artifacts.bench import BenchRecord
from toolkit.artifacts.bundle import Bundle
from toolkit.artifacts.fleet import Device
from toolkit.bench import BenchResult, bench_fleet
from toolkit.bench.run import remaining_runs
from toolkit.fleet.local_fleet import control
from toolkit.progress import Silent
from toolkit.workspace import Workspace

from ..bundles import sealed

pytestmark = pytest.mark.slow

SCENARIOS = ["accuracy", "single-stream", "offline"]


@pytest.fixture
def fleet_apart(tmp_path: Path) -> Iterator[Workspace]:
    """One device in a process of its own, to be killed and started again on the same port."""
    apart = Workspace(tmp_path / "apart")
    try:
        yield apart
    finally:
        control.down(apart)


@pytest.fixture
def bundles(setup: Any) -> list[Bundle]:
    """Two models: the tiny one, and the same under another name."""
    source = setup.workspace.absolute(setup.bundle.path)
    part = setup.workspace.folder("bundles") / "other"
    shutil.copytree(source, part)
    manifest = json.loads((part / "manifest.json").read_bytes()) | {"name": "tiny-twin-fp32"}
    folder = sealed(part, manifest)
    twin = dataclasses.replace(
        setup.bundle, digest=folder.name, name="tiny-twin-fp32", path=setup.workspace.relative(folder)
    )
    setup.store.put(twin)
    return [setup.bundle, twin]


def wait_for(condition: Callable[[], object], seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return bool(condition())


def bench(setup: Any, bundles: list[Bundle], devices: list[Device], **more: Any) -> BenchResult:
    spec = more.pop("spec", setup.spec)
    return bench_fleet(bundles, devices, spec, workspace=setup.workspace, store=setup.store, progress=Silent(), **more)


def measured(setup: Any) -> list[tuple[str, str, str]]:
    return [(each.device, each.parent, each.scenario) for each in setup.store.all(BenchRecord)]


def lost_meanwhile(setup: Any, bundles: list[Bundle], apart: Workspace, patience_s: float, back: bool) -> BenchResult:
    """Start, kill the device's server in the middle of its second run, and start it again or not."""
    (device,) = control.up(apart, 1).devices
    spec = dataclasses.replace(setup.spec, seconds=2.0)
    results: list[BenchResult] = []
    work = threading.Thread(
        target=lambda: results.append(bench(setup, bundles, [device], spec=spec, reconnect_timeout_s=patience_s)),
        daemon=True,
    )
    work.start()
    assert wait_for(lambda: len(measured(setup)) == 1)
    time.sleep(0.5)
    control.down(apart)
    if back:
        time.sleep(1)
        assert control.up(apart, 1).devices[0].port == device.port
    work.join(120)
    return results[0]


def test_bench_fleet_goes_on_when_a_lost_device_comes_back(
    setup: Any, bundles: list[Bundle], fleet_apart: Workspace
) -> None:
    result = lost_meanwhile(setup, bundles, fleet_apart, 60, back=True)
    assert (result.problems, result.exit_code) == ((), 0)
    asked = [(bundle.digest, scenario) for bundle in bundles for scenario in SCENARIOS]
    assert [(record.parent, record.scenario) for record in result.records] == asked
    assert [record.broken_rules for record in result.records] == [()] * 6


def test_bench_fleet_says_what_is_left_when_a_device_stays_away(
    setup: Any, bundles: list[Bundle], fleet_apart: Workspace, devices: tuple[Device, ...]
) -> None:
    result = lost_meanwhile(setup, bundles, fleet_apart, 1, back=False)
    (problem,) = result.problems
    assert problem.what.startswith("lost after 1 of 6 runs: ")
    assert problem.remedy == "once it is back, run the same command with --resume for the remaining 5"
    (device,) = control.up(fleet_apart, 1).devices
    spec = dataclasses.replace(setup.spec, seconds=2.0)
    both = [dataclasses.replace(devices[0], name="other"), device]
    (other, lost) = remaining_runs(bundles, both, spec, workspace=setup.workspace, store=setup.store)
    assert ((other.total, len(other.remaining)), (lost.total, len(lost.remaining))) == ((6, 6), (6, 5))
    later = bench(setup, bundles, both, spec=spec, resume=True)
    assert (later.problems, len(later.skipped), len(later.records)) == ((), 1, 11)
    assert len(measured(setup)) == len(set(measured(setup))) == 12


def test_toolkit_bench_goes_on_when_the_controller_was_killed(
    setup: Any, bundles: list[Bundle], devices: tuple[Device, ...], write_inventory: Callable[..., Path]
) -> None:
    inventory = write_inventory(devices[:1])
    argv = [str(Path(sys.executable).with_name("toolkit")), "bench", "--fleet", "--inventory", str(inventory)]
    argv += ["--seconds", "1", "--min-queries", "64", "--precision", "f32", "--workspace", str(setup.workspace.root)]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        assert wait_for(lambda: len(measured(setup)) >= 2)
        process.send_signal(signal.SIGKILL)
    count = len(measured(setup))
    plan = subprocess.run([*argv, "--dry-run", "--json"], check=True, capture_output=True, text=True)
    (device,) = json.loads(plan.stdout)["devices"]
    assert (device["total"], len(device["remaining"])) == (6, 6 - count)
    done = subprocess.run([*argv, "--resume", "--json"], check=True, capture_output=True, text=True)
    assert len(json.loads(done.stdout)["records"]) == 6
    assert len(measured(setup)) == len(set(measured(setup))) == 6
