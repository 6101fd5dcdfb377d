"""Playbooks as a user runs them: ansible-playbook from ansible/, with the repository's own settings."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from toolkit.artifacts.fleet import Device
from toolkit.progress import Lines
from toolkit.virtual import devices
from toolkit.virtual.disk_image import SUITE
from toolkit.virtual.machine import Machine
from toolkit.virtual.ncs2_emulator import Stick
from toolkit.workspace import Workspace

BIN = Path(sys.executable).parent
REPOSITORY = Path(__file__).parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "edge-vision-toolkit"
Play = Callable[..., subprocess.CompletedProcess[str]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Decommission the device after the tests that use it."""
    items.sort(key=lambda item: item.path.name == "test_pi_decommission.py")


def wheelhouse_of(machine: str, lock: str = "device", python: str = "3.13", glibc: int = 41) -> Path:
    """Folder of a device's wheels, downloaded once."""
    content = (REPOSITORY / f"requirements/{lock}.txt").read_bytes()
    folder = CACHE / "wheelhouse" / hashlib.sha256(f"{machine}{python}{glibc}".encode() + content).hexdigest()[:12]
    if not folder.is_dir():
        part = folder.with_suffix(".part")
        subprocess.run([REPOSITORY / "scripts/wheelhouse.sh", part, machine, lock, python, str(glibc)], check=True)
        part.rename(folder)
    return folder


def changed(done: subprocess.CompletedProcess[str]) -> int:
    """Number of tasks that changed the last host, of a play that succeeded."""
    assert done.returncode == 0, done.stdout + done.stderr
    return int(re.findall(r"changed=(\d+)", done.stdout)[-1])


@pytest.fixture(scope="session")
def ansible_dir() -> Path:
    return Path(__file__).parents[2] / "ansible"


@pytest.fixture(scope="session")
def play(ansible_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Play:
    """Run ansible-playbook with these arguments."""
    home = tmp_path_factory.mktemp("ansible")
    environment = {
        **os.environ,
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "ANSIBLE_CONFIG": str(ansible_dir / "ansible.cfg"),
        "ANSIBLE_HOME": str(home),
        "ANSIBLE_ROLES_PATH": str(ansible_dir / "roles"),
        "ANSIBLE_COLLECTIONS_PATH": str(ansible_dir / ".collections"),
        "LC_ALL": "C.UTF-8",
    }

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [BIN / "ansible-playbook", *arguments]
        return subprocess.run(command, cwd=ansible_dir, env=environment, capture_output=True, text=True, check=False)

    return run


@dataclass(frozen=True)
class Pi:
    """A booted device, and how to reach it."""

    device: Device
    machine: Machine
    inventory: Path
    host: Any
    """testinfra's, as root."""

    @property
    def stick(self) -> Stick:
        return Stick(self.machine.folder)

    def sh(self, script: str) -> str:
        """Run a script as root and return its output."""
        done = self.host.run("sh -euc %s", script)
        assert done.rc == 0, done.stdout + done.stderr
        return str(done.stdout)


@contextmanager
def booted(variables: dict[str, Any], *, suite: str = SUITE, sticks: bool = False) -> Iterator[Pi]:
    """Boot a bare device for the length of a with-block; `variables` are added to its inventory."""
    folder = Path(tempfile.mkdtemp(prefix="pi-"))
    workspace = Workspace(folder)
    try:
        fleet = devices.up(workspace, 1, Lines(), suite=suite, sticks=sticks)
        (device,) = fleet.devices
        inventory_data: dict[str, Any] = yaml.safe_load(fleet.inventory.read_text())
        inventory_data["virtual"]["vars"] |= variables
        inventory = folder / "fleet.yml"
        inventory.write_text(yaml.safe_dump(inventory_data))
        yield Pi(device, devices.machine(workspace, device.name), inventory, connected(device, folder / "ssh"))
    finally:
        devices.down(workspace)
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def pi() -> Iterator[Pi]:
    """A bare device with a stick plugged in."""
    variables = {
        "openvino_wheelhouse": str(wheelhouse_of("aarch64")),
        "monitoring_enabled": True,
        "monitoring_every_seconds": 60,
        "performance_governor": "performance",
    }
    with booted(variables, sticks=True) as state:
        yield state


def deploy(pi: Pi, bundle: Path, workspace: Path) -> None:
    """Run `toolkit deploy`."""
    arguments = [BIN / "toolkit", "deploy", shutil.copytree(bundle, workspace / bundle.name), "--fleet"]
    arguments += ["--inventory", pi.inventory, "--workspace", workspace]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def app_state(pi: Pi) -> dict[str, Any]:
    """Status of the live app; empty while it does not answer."""
    ask = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8080/v1/state').read().decode())"
    done = pi.host.run("python3 -c %s", ask)
    state: dict[str, Any] = json.loads(done.stdout) if done.rc == 0 else {}
    return state


def wait_for_app(pi: Pi, true: Callable[[dict[str, Any]], bool], seconds: float = 180) -> dict[str, Any]:
    """Wait until the status satisfies a condition, and return it."""
    deadline = time.monotonic() + seconds
    while not true(state := app_state(pi)):
        assert time.monotonic() < deadline, (state, pi.sh("journalctl -u toolkit-runner -n 20 --no-pager"))
        time.sleep(1)
    return state


def connected(device: Device, shared: Path | None = None) -> Any:
    """Connect to the device: a connection for each command, or one for all with the socket `shared`."""
    import testinfra  # needed by this tier alone

    options = f"-F none -o UserKnownHostsFile={device.known_hosts} -o StrictHostKeyChecking=yes"
    if shared is not None:
        options += f" -o ControlMaster=auto -o ControlPersist=60 -o ControlPath={shared} -o ServerAliveInterval=5"
    address = f"ssh://{device.user}@{device.host}:{device.port}"
    return testinfra.get_host(address, ssh_identity_file=device.key_file, ssh_extra_args=options, sudo=True)


@pytest.fixture(scope="session")
def provisioned(pi: Pi, play: Play) -> Pi:
    """The device after the first run of the playbook."""
    done = play("-i", pi.inventory, "provision-pi.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    return pi
