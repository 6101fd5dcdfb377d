from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from toolkit import fleet
from toolkit.artifacts.bench import BenchRecord
from toolkit.artifacts.fleet import Device
from toolkit.bench import BenchResult, bench_fleet, bench_local
from toolkit.errors import BundleError, DataError
from toolkit.progress import Silent

pytestmark = pytest.mark.slow

SCENARIOS = ["accuracy", "single-stream", "offline"]


def here(setup: Any, progress: Silent | None = None, **more: Any) -> BenchResult:
    spec = more.pop("spec", setup.spec)
    return bench_local(
        [setup.bundle], spec, workspace=setup.workspace, store=setup.store, progress=progress or Silent(), **more
    )


def on_fleet(setup: Any, devices: Sequence[Device], **more: Any) -> BenchResult:
    return bench_fleet(
        [setup.bundle], devices, setup.spec, workspace=setup.workspace, store=setup.store, progress=Silent(), **more
    )


def test_bench_here_keeps_valid_records(setup: Any) -> None:
    result = here(setup)
    assert [record.scenario for record in result.records] == SCENARIOS
    assert [record.broken_rules for record in result.records] == [(), (), ()]
    assert [record.quick for record in result.records] == [False, True, True]
    accuracy, single, offline = result.records
    assert (accuracy.accuracy, accuracy.correct, accuracy.images) == (1.0, 12, 12)
    assert len(single.samples_ms) >= 64
    assert offline.wall_s >= 0.2
    assert single.parent == setup.bundle.digest
    assert set(single.facts) >= {
        "machine",
        "kernel",
        "openvino",
        "python",
        "governor",
        "temperature_c",
        "used",
        "toolkit",
    }
    assert setup.store.all(BenchRecord, parent=setup.bundle.digest) == result.records


def test_bench_here_skips_what_is_measured_when_resumed(setup: Any) -> None:
    here(setup, spec=dataclasses.replace(setup.spec, scenarios=("single-stream",)))
    first = here(setup)
    progress = Silent()
    second = here(setup, progress, resume=True)
    assert (len(second.records), len(second.skipped)) == (0, 3)
    assert {record.digest for record in second.skipped} == {record.digest for record in first.records}
    assert "skipped: 3 of 3 runs were measured before" in progress.messages


def test_bench_here_uses_former_accuracy_pass_when_resumed(setup: Any) -> None:
    first = here(setup)
    broken = dataclasses.replace(first.records[2], broken_rules=("throttled",))
    setup.store.put(broken)
    second = here(setup, resume=True)
    assert [(record.scenario, record.broken_rules) for record in second.records] == [("offline", ())]


def test_bench_here_refuses_a_bundle_with_one_flipped_bit(setup: Any) -> None:
    path = setup.workspace.absolute(setup.bundle.path) / "model.bin"
    content = bytearray(path.read_bytes())
    content[7] ^= 16
    path.write_bytes(content)
    with pytest.raises(BundleError, match=r"model\.bin"):
        here(setup)


def test_bench_here_says_what_to_do_when_the_split_is_unknown(setup: Any, tmp_path: Path) -> None:
    setup.store._connection.execute("DELETE FROM artifact WHERE kind = 'Split'")
    with pytest.raises(DataError, match="not in this workspace"):
        here(setup)


def test_bench_here_goes_on_when_one_step_fails(setup: Any) -> None:
    spec = dataclasses.replace(setup.spec, precision="f16", threads=1)
    result = here(setup, spec=spec)
    assert len(result.records) + len(result.problems) == 3
    assert result.exit_code == (1 if result.problems else 0)


def test_bench_fleet_measures_every_device(setup: Any, devices: tuple[Device, ...]) -> None:
    result = on_fleet(setup, devices[:2])
    actual = [(record.device, record.scenario, record.broken_rules) for record in result.records]
    assert actual == [(device.name, scenario, ()) for device in devices[:2] for scenario in SCENARIOS]
    assert result.exit_code == 0
    assert result.records[0].facts["device_code"]
    with fleet.connect(devices[0]) as shell:
        remaining = shell.run(f"ls {devices[0].root}").stdout.split()
    assert "current" not in remaining


def test_bench_fleet_does_not_let_one_device_hide_the_others(setup: Any, devices: tuple[Device, ...]) -> None:
    gone = dataclasses.replace(devices[1], port=1)
    bare = dataclasses.replace(devices[2], python="/no/such/python")
    result = on_fleet(setup, [devices[0], gone, bare])
    assert {record.device for record in result.records} == {devices[0].name}
    assert {problem.where for problem in result.problems} == {gone.name, bare.name}
    assert result.exit_code == 1


def command(setup: Any, *argv: str) -> list[str]:
    return [str(Path(sys.executable).with_name("toolkit")), "bench", *argv, "--workspace", str(setup.workspace.root)]


def test_toolkit_bench_prints_figures_and_validity(setup: Any) -> None:
    quick = ("--local", "--seconds", "0.2", "--min-queries", "64", "--precision", "f32")
    table = subprocess.run(command(setup, *quick), capture_output=True, text=True, check=True).stdout
    assert ("tiny-softmax-top-fp32" in table, "quick" in table, "100.000%" in table) == (True, True, True)
    done = subprocess.run(command(setup, *quick, "--resume", "--json"), capture_output=True, text=True, check=True)
    records = json.loads(done.stdout)["records"]
    assert [record["scenario"] for record in records] == SCENARIOS
    assert records[1]["summary"]["percentiles_ms"][1][0] == 90


def test_toolkit_bench_ends_with_2_when_it_is_not_said_where(setup: Any) -> None:
    done = subprocess.run(command(setup), capture_output=True, text=True, check=False)
    assert (done.returncode, "no target selected" in done.stderr) == (2, True)


def processes_of(folder: Path) -> list[int]:
    """The bench workers, and their runs, that work under a folder."""
    actual = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"bench-worker" in entry.read_bytes() and (entry.parent / "cwd").readlink().is_relative_to(folder):
                actual.append(int(entry.parent.name))
        except OSError:
            continue
    return actual


def wait_for(condition: Any, seconds: float = 30) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return bool(condition())


def interrupted(argv: list[str], folder: Path, setup: Any) -> tuple[int, str]:
    """Ctrl-C once the first record is kept and the next step runs."""
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert wait_for(lambda: setup.store.all(BenchRecord) and processes_of(folder))
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        _, talk = process.communicate(timeout=60)
    return process.returncode, talk


def test_toolkit_bench_keeps_what_is_finished_when_interrupted(setup: Any) -> None:
    code, talk = interrupted(command(setup, "--local", "--precision", "f32"), setup.workspace.root, setup)
    assert (code, "interrupted" in talk) == (130, True)
    assert [record.scenario for record in setup.store.all(BenchRecord)] == ["accuracy"]
    assert wait_for(lambda: not processes_of(setup.workspace.root))


def test_toolkit_bench_stops_the_devices_when_interrupted(
    setup: Any, devices: tuple[Device, ...], write_inventory: Callable[..., Path]
) -> None:
    inventory = write_inventory(devices[:1])
    argv = command(setup, "--fleet", "--inventory", str(inventory), "--precision", "f32")
    code, _ = interrupted(argv, Path(devices[0].root), setup)
    assert code == 130
    assert wait_for(lambda: not processes_of(Path(devices[0].root)))
    assert [record.scenario for record in setup.store.all(BenchRecord)] == ["accuracy"]
