"""Releases that run in a container image, on a device with an engine of its own: another store than the controller's, and empty."""

from __future__ import annotations

import getpass
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from toolkit.artifacts.fleet import Device
from toolkit.bench import BenchSpec, bench_fleet
from toolkit.deploy import REQUIRED_GATES, SpeedGate, deploy, load_baselines, plan_rollout, rollback, status
from toolkit.fleet import connect
from toolkit.fleet.container_images import remote
from toolkit.fleet.container_images.local import SENT, resolve_images
from toolkit.fleet.device_command import in_runtime
from toolkit.fleet.inventory.ansible import ansible_command
from toolkit.fleet.transfer.staging import TransferOptions
from toolkit.progress import Silent
from toolkit.store import Store
from toolkit.workspace import Workspace

from ..bench.conftest import adopted, drawn_split
from ..bundles import copy_for_litert, sealed

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

RUNNER = "edge-vision/runner:dev"
"""What `just build runner` makes."""
PYTHON = "/usr/bin/python3"
"""Of the machine: it has neither OpenVINO nor NumPy, as a device with an engine needs neither."""


@pytest.fixture(scope="module")
def engine() -> Iterator[str]:
    """An engine with Docker's older store, which reads a container image by its manifest.json; its address."""
    home = Path(tempfile.mkdtemp(prefix="engine-", dir="/tmp"))  # a socket's path must be short
    argv = ["dockerd", "--config-file", os.devnull, "--data-root", home / "data", "--exec-root", home / "run"]
    # Told of no bridge, it would delete docker0 under the engine that runs already and builds images.
    argv += ["--pidfile", home / "pid", "--host", f"unix://{home}/socket", "--bridge", "docker0", "--iptables=false"]
    with subprocess.Popen([*argv, "--ip6tables=false"], stderr=(home / "log").open("wb")) as process:
        try:
            _wait_until_it_answers(f"unix://{home}/socket", process, home / "log")
            yield f"unix://{home}/socket"
        finally:
            process.terminate()
    for space in (home / "run/netns").glob("*"):  # what a container on the machine's own network leaves mounted
        subprocess.run(["umount", space], check=False)
    shutil.rmtree(home)


def _wait_until_it_answers(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while docker(address, "version", check=False).returncode:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline
        time.sleep(0.1)


def docker(address: str, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"DOCKER_HOST": address}
    return subprocess.run(["docker", *argv], env=environment, capture_output=True, text=True, check=check)


@pytest.fixture(scope="module")
def device(openssh: Callable[..., AbstractContextManager[Device]], engine: str) -> Iterator[Device]:
    """Reached by OpenSSH; whoever logs in uses that engine."""
    with openssh(f"SetEnv DOCKER_HOST={engine}") as actual:
        yield replace(actual, python=PYTHON, container_image=RUNNER)


def test_deploy_sends_the_image_once_and_runs_every_gate_in_it(
    device: Device, engine: str, bundle: Path, other_bundle: Path
) -> None:
    reference = resolve_images([RUNNER])[RUNNER].reference
    (planned,) = plan_rollout(bundle, [device]).ok.values()
    assert [step.name for step in planned.steps] == ["container_image", "send", "verify", "golden", "switch"]
    first = deploy(bundle, [device])
    assert not first.failed, first.failed
    assert first.ok[device].sent_bytes == planned.send_bytes > 50_000_000
    assert "differs by" in first.ok[device].gates["golden"]
    assert docker(engine, "image", "ls", "-q", reference).stdout.strip()
    assert Path(device.root, "current", "container-image").read_text().strip() == reference
    assert deploy(bundle, [device]).ok[device].outcome == "unchanged"
    second = deploy(other_bundle, [device])
    assert not second.failed, second.failed
    assert second.ok[device].sent_bytes < 100_000
    assert not status([device]).ok[device].drift


def test_litert_bundle_passes_every_gate_in_the_image(device: Device, tiny_bundle: Path, tmp_path: Path) -> None:
    place = replace(device, root=f"{device.root} and LiteRT")
    litert = copy_for_litert(tiny_bundle, tmp_path)
    result = deploy(litert, [place])
    assert not result.failed, result.failed
    assert "differs by" in result.ok[place].gates["golden"]
    with connect(place) as shell:
        folder = f"{place.root}/releases/{status([place]).ok[place].release}"
        golden = json.loads(shell.run(in_runtime(place, folder, "golden", folder)).stdout)
    assert (golden["ok"], golden["runtime"].split()[0]) == (True, "LiteRT")


def test_rollback_goes_back_to_what_a_release_ran_in(device: Device, bundle: Path, other_bundle: Path) -> None:
    contained = replace(device, root=f"{device.root} and back")
    native = replace(contained, container_image=None, python=sys.executable)
    assert not deploy(bundle, [native]).failed
    assert not deploy(other_bundle, [contained]).failed
    named = Path(contained.root, "current", "container-image")
    assert named.is_file()
    assert not rollback([contained]).failed
    assert status([contained]).ok[contained].bundle == bundle.name
    assert not named.exists()
    assert not rollback([contained]).failed
    assert named.is_file()
    with connect(contained) as shell:
        folder = f"{contained.root}/releases/{status([contained]).ok[contained].release}"
        assert json.loads(shell.run(in_runtime(contained, folder, "golden", folder)).stdout)["ok"]


def test_deploy_sends_nothing_when_no_engine_answers(
    openssh: Callable[..., AbstractContextManager[Device]], bundle: Path, tmp_path: Path
) -> None:
    with openssh(f"SetEnv DOCKER_HOST=unix://{tmp_path}/nobody") as actual:
        device = replace(actual, python=PYTHON, container_image=RUNNER)
        (problem,) = deploy(bundle, [device]).failed.values()
    assert "no container engine" in problem.what
    assert "container_engine installs one" in problem.remedy
    assert not Path(device.root, "store").exists()


def test_deploy_keeps_the_old_release_when_golden_fails_in_image(
    device: Device, make_bundle: Callable[..., Path], bundle: Path
) -> None:
    place = replace(device, root=f"{device.root} and golden")
    assert not deploy(bundle, [place]).failed
    (problem,) = deploy(make_bundle("wrong", golden_shift=0.5), [place]).failed.values()
    assert "golden check failed" in problem.what
    assert status([place]).ok[place].bundle == bundle.name


def test_deploy_removes_an_image_that_no_release_names(
    device: Device, engine: str, bundle: Path, other_bundle: Path
) -> None:
    place = replace(device, root=f"{device.root} and tidy")
    (planned,) = plan_rollout(bundle, [place]).ok.values()
    assert planned.has("send")
    old = f"{SENT}:{'0' * 64}"
    stale = Path(place.root, "container-images", "1" * 64)
    stale.mkdir(parents=True)
    (stale / "manifest.json").write_text(f'[{{"Config": "x", "RepoTags": ["{old}"], "Layers": []}}]')
    assert not deploy(other_bundle, [place], transfer=TransferOptions(keep=0)).failed
    assert not stale.exists()
    with connect(place) as shell:
        container_image = resolve_images([RUNNER])[RUNNER]
        assert remote.is_there(container_image, remote.inspect_image(place, shell, container_image))


def test_bench_in_the_image_is_the_next_releases_baseline(
    device: Device, tiny_bundle: Path, workspace: Workspace
) -> None:
    place = replace(device, root=f"{device.root} and bench")
    split = drawn_split(workspace)
    made = adopted(tiny_bundle, split, workspace)
    with Store(workspace.database) as store:
        store.put(split)
        store.put(made)
        assert not deploy(workspace.absolute(made.path), [place]).failed
        spec = BenchSpec(seconds=0.5, queries=64, precision="f32")
        measured = bench_fleet([made], [place], spec, workspace=workspace, store=store, progress=Silent())
        assert not measured.problems
        assert [record.scenario for record in measured.records] == ["accuracy", "single-stream", "offline"]
        assert measured.records[0].accuracy == 1.0
        reference = resolve_images([RUNNER])[RUNNER].reference
        assert {record.settings["container_image"] for record in measured.records} == {reference}
        known = load_baselines(store)
    again = _renamed(workspace.absolute(made.path))
    result = deploy(again, [place], gates=(*REQUIRED_GATES, SpeedGate(1e-6, known)))  # whatever else runs
    assert not result.failed, result.failed
    assert "p90" in result.ok[place].gates["speed"]


def _renamed(bundle: Path) -> Path:
    """The same network under another digest: what a retrained one is to the gate."""
    copy = shutil.copytree(bundle, bundle.with_name("part"))
    manifest = json.loads((copy / "manifest.json").read_bytes())
    return sealed(copy, manifest | {"toolkit": "another"})


def test_the_service_runs_the_current_release_in_its_image(
    device: Device, engine: str, bundle: Path, tmp_path: Path
) -> None:
    place = replace(device, root=str(tmp_path / "root"))
    assert not deploy(bundle, [place]).failed
    with socket.create_server(("127.0.0.1", 0)) as spare:
        port = spare.getsockname()[1]
    own = {
        "runner_root": place.root,
        "runner_user": getpass.getuser(),
        "runner_arguments": f"serve {place.root}/current --source pattern --port {port}",
        "runner_source": "pattern",
        "runner_accelerator": "CPU",
    }
    script = _rendered(own, tmp_path)
    with subprocess.Popen([script], env=os.environ | {"DOCKER_HOST": engine}, stdout=subprocess.DEVNULL) as running:
        try:
            _wait_until_it_is_well(f"http://127.0.0.1:{port}/health", running)
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/state", timeout=5) as answer:
                assert json.load(answer)["release"] == Path(place.root, "current").resolve().name
        finally:
            docker(engine, "stop", "--time", "20", "toolkit-runner", check=False)
    assert not docker(engine, "ps", "--all", "--quiet").stdout
    Path(place.root, "current").unlink()
    Path(place.root, "current").mkdir()
    refused = subprocess.run([script], capture_output=True, text=True, check=False)
    assert (refused.returncode, "names no container image" in refused.stderr) == (78, True)


def _rendered(values: dict[str, str], folder: Path) -> Path:
    """The role runner's script, as Ansible writes it."""
    role = Path(__file__).parents[2] / "ansible/roles/runner"
    defaults = yaml.safe_load((role / "defaults/main.yml").read_text())
    (folder / "values.json").write_text(json.dumps({**defaults, **values}))
    script = folder / "toolkit-runner"
    arguments = f"src={role}/templates/toolkit-runner.j2 dest={script} mode=0755"
    argv = [*ansible_command("adhoc"), "localhost", "-m", "ansible.builtin.template", "-a", arguments]
    subprocess.run([*argv, "-e", f"@{folder}/values.json", "-e", "ansible_connection=local"], check=True)
    return script


def _wait_until_it_is_well(url: str, running: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 300
    while True:
        with suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:
            assert answer.status == 200
            return
        assert running.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.2)
