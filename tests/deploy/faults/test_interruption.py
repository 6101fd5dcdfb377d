"""A controller or a server that ends in the midst of a deploy, in real processes: the old release serves, nothing stays
locked, the next run heals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from toolkit.artifacts.fleet import Device
from toolkit.deploy import status
from toolkit.fleet.local_fleet import control
from toolkit.workspace import Workspace

pytestmark = pytest.mark.slow

SLOW_PYTHON = """#!/bin/sh
case "$*" in *" golden "*) touch {root}/checking; while ! [ -e {root}/go ]; do sleep 0.05; done;; esac
exec {python} "$@"
"""


@dataclass(frozen=True)
class Controller:
    """A `toolkit deploy` in a process of its own, to a device that waits in the golden check until it is let go."""

    device: Device
    argv: list[str]

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(self.argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def wait_for(self, moment: str, process: subprocess.Popen[str]) -> None:
        _wait_for(lambda: _has_come(moment, Path(self.device.root)), process)

    def run(self) -> dict[str, Any]:
        """Once more, to its end, the device being let go."""
        (Path(self.device.root) / "go").touch()
        done = subprocess.run(self.argv, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))


Start = Callable[[Device, Path], Controller]


@pytest.fixture
def controller(write_inventory: Callable[..., Path], workspace: Workspace, tmp_path: Path) -> Iterator[Start]:
    roots = []

    def make(device: Device, bundle: Path) -> Controller:
        roots.append(Path(device.root))
        slow = tmp_path / "python"
        slow.write_text(SLOW_PYTHON.format(root=device.root, python=sys.executable))
        slow.chmod(0o755)
        own = {"toolkit_known_hosts": device.known_hosts, "ansible_ssh_private_key_file": device.key_file}
        inventory = write_inventory((device,), toolkit_python=str(slow), **own)
        toolkit = str(Path(sys.executable).with_name("toolkit"))
        argv = [toolkit, "deploy", str(bundle), "--fleet", "--inventory", str(inventory), "--json"]
        return Controller(device, [*argv, "--workspace", str(workspace.root)])

    yield make
    for root in roots:  # whatever still waits there ends
        (root / "go").touch()


@pytest.mark.parametrize("moment", ["golden", "transfer"])
def test_deploy_exits_130_when_interrupted_and_heals_next(
    moment: str, devices: tuple[Device, ...], serving: Any, make_bundle: Callable[..., Path], controller: Start
) -> None:
    device, root = devices[0], Path(devices[0].root)
    serving(device)
    old = (root / "current").readlink()
    new = make_bundle(moment, padding_bytes=160_000_000 if moment == "transfer" else 1000)
    interrupted = controller(device, new)
    with interrupted.start() as process:
        interrupted.wait_for(moment, process)
        process.send_signal(signal.SIGINT)
        _, talk = process.communicate(timeout=60)
    assert process.returncode == 130, talk
    assert "interrupted" in talk
    assert "Traceback" not in talk
    assert (root / "current").readlink() == old
    _wait_for(lambda: not any(root.glob("*.lock")))
    assert interrupted.run()["devices"][0]["outcome"] == "deployed"
    assert (root / "current").readlink() != old
    assert (root / "previous").readlink() == old


@pytest.mark.fault(
    "the controller is killed, and started again", serves="old", reports=r"\(process \d+\) since .* UTC: deploy"
)
def test_deploy_heals_when_the_controller_was_killed(
    devices: tuple[Device, ...], serving: Any, bundle: Path, other_bundle: Path, controller: Start, aftermath: Any
) -> None:
    device, root = devices[0], Path(devices[0].root)
    serving(device)
    killed = controller(device, other_bundle)
    with killed.start() as process:
        killed.wait_for("golden", process)
        message = status((device,)).ok[device].lock
        process.kill()
        process.communicate(timeout=60)
    _wait_for(lambda: not any(root.glob("*.lock")))
    aftermath.hold((device,), bundle, other_bundle, message, killed.run)


@pytest.mark.fault("sshd is killed in the midst of a turn", serves="old", reports="connection was lost|hung up")
def test_deploy_fails_and_the_next_run_heals_when_sshd_is_killed(
    workspace: Workspace, serving: Any, bundle: Path, other_bundle: Path, controller: Start, aftermath: Any
) -> None:
    own = Workspace(workspace.root / "own")
    try:
        (device,) = control.up(own, 1).devices
        Path(device.root).rmdir()
        serving(device)
        cut = controller(device, other_bundle)
        with cut.start() as process:
            cut.wait_for("golden", process)
            os.kill(json.loads((own.root / "fleet" / "server.pid").read_text())["pid"], signal.SIGKILL)
            message, _ = process.communicate(timeout=60)
        assert process.returncode == 1, message
        (again,) = control.up(own, 1).devices
        assert again == replace(device)
        aftermath.hold((device,), bundle, other_bundle, message, cut.run)
    finally:
        control.down(own)


def _has_come(moment: str, root: Path) -> bool:
    return (root / "checking").exists() if moment == "golden" else any(root.glob("store/*.part"))


def _wait_for(condition: Callable[[], bool], process: subprocess.Popen[str] | None = None) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.001)
