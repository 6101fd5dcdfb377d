from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from toolkit.artifacts.fleet import Device
from toolkit.doctor import Place, all_checks
from toolkit.doctor.checks import clock, container_engine, disk, inventory, packages, ssh_agent, weights, workspace
from toolkit.progress import Silent
from toolkit.store import Store
from toolkit.workspace import Workspace


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(Workspace(tmp_path / "workspace"), None, Silent())


def states(check: Any, place: Place) -> list[str]:
    return [finding.state for finding in check.check(place)]


def test_checks_have_unique_names_and_say_who_needs_them() -> None:
    names = [check.name for check in all_checks()]
    assert len(names) == len(set(names)) == 14
    assert all(check.about for check in all_checks())


def test_checks_give_a_remedy_unless_all_is_good(place: Place) -> None:
    results = [
        (check.name, finding)
        for check in all_checks()
        if check.name not in {"engine", "legacy-openvino"}
        for finding in check.check(place)
    ]
    assert [name for name, finding in results if finding.state != "good" and not finding.remedy] == []


def test_packages_names_what_is_missing_and_its_extra(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    real = packages.metadata.version

    def version(name: str) -> str:
        if name == "keras":
            raise packages.metadata.PackageNotFoundError
        return "0.1" if name == "fabric" else real(name)

    monkeypatch.setattr(packages.metadata, "version", version)
    results = {finding.what.partition(":")[0]: finding for finding in packages.check(place)}
    assert "keras missing (requires >=3.10)" in results["training and conversion"].what
    assert "fabric 0.1 (requires >=3.2.3)" in results["deploy and bench"].what
    assert results["deploy and bench"].remedy.endswith("'edge-vision-toolkit[fleet]'")
    assert results["the report"].state == "good"


def test_workspace_is_created_by_fix(place: Place) -> None:
    assert states(workspace, place) == ["warning"]
    workspace.fix(place)
    assert states(workspace, place) == ["good"]
    with Store(place.workspace.database):
        pass
    assert states(workspace, place) == ["good"]


def test_workspace_reports_a_damaged_database_unchanged(place: Place) -> None:
    path = place.workspace.database
    with Store(path):
        pass
    sqlite3.connect(path).execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(path.read_bytes())
    content[4096:] = os.urandom(len(content) - 4096)
    path.write_bytes(content)
    (result,) = workspace.check(place)
    assert (result.state, "is damaged" in result.what) == ("bad", True)
    assert path.read_bytes() == content


def test_disk_warns_when_it_is_full(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil._ntuple_diskusage
    for free, state in ((5e9, "good"), (1e9, "warning"), (1e8, "bad")):
        monkeypatch.setattr(disk.shutil, "disk_usage", lambda _, free=free: usage(10**10, 0, int(free)))
        assert set(states(disk, place)) == {state}


def test_clock_reports_an_impossible_time(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock.time, "time", lambda: 1e9)
    (result,) = clock.check(place)
    assert (result.state, result.what) == (
        "bad",
        "the clock says 2001-09-09 01:46 UTC, which is before the toolkit's own files were written",
    )


def test_weights_says_where_to_copy_a_file(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    result = list(weights.check(place))
    assert [each.state for each in result] == ["warning", "warning", "warning"]
    assert str(tmp_path / "cache") in result[0].remedy


def test_engine_warns_when_docker_is_missing(place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (result,) = container_engine.check(place)
    assert (result.state, result.what) == (
        "warning",
        "docker is not installed: container images cannot be built or run",
    )


def test_ssh_agent_counts_the_keys_of_a_real_agent(
    place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    assert states(ssh_agent, place) == ["warning"]
    if shutil.which("ssh-agent"):
        socket = tmp_path / "agent"
        with subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL) as agent:
            try:
                while not socket.exists():
                    assert agent.poll() is None
                monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
                assert [result.what for result in ssh_agent.check(place)] == ["the SSH agent has no keys"]
            finally:
                agent.terminate()


def write_inventory(tmp_path: Path, device: Device, **more: str) -> Path:
    path = tmp_path / "inventory.yml"
    host = {"ansible_host": device.host, "ansible_port": device.port, **more}
    path.write_text(json.dumps({"all": {"hosts": {"one": host}}}))
    return path


@pytest.mark.slow
def test_inventory_warns_of_unpinned_hosts_and_open_keys(
    place: Place, tmp_path: Path, devices: tuple[Device, ...]
) -> None:
    key = tmp_path / "key"
    key.write_text("not a key")
    key.chmod(0o644)
    path = write_inventory(tmp_path, devices[0], ansible_ssh_private_key_file=str(key))
    there = Place(place.workspace, path, place.progress)
    results = [finding.what for finding in inventory.check(there)]
    assert results[1:] == [
        f"other users can read the private key {key}",
        "host keys are not pinned, so connections are refused: one",
    ]
    key.chmod(0o600)
    shutil.copy(str(devices[0].known_hosts), tmp_path / "known_hosts")
    assert states(inventory, there) == ["good", "good"]


@pytest.mark.slow
def test_doctor_exits_1_only_when_something_will_not_work(tmp_path: Path) -> None:
    argv = [str(Path(sys.executable).with_name("toolkit")), "doctor", "--workspace", str(tmp_path / "workspace")]
    fine = subprocess.run(
        [*argv, "python", "packages", "workspace", "--json"], capture_output=True, text=True, check=True
    )
    result = json.loads(fine.stdout)["checks"]
    assert [(each["name"], each["state"]) for each in result] == [
        ("python", "good"),
        ("packages", "good"),
        ("workspace", "warning"),
    ]
    lost = subprocess.run([*argv, "inventory", "-i", "/no/such"], capture_output=True, text=True, check=False)
    assert (lost.returncode, "BAD  inventory" in lost.stdout) == (1, True)
    repaired = subprocess.run([*argv, "workspace", "--fix"], capture_output=True, text=True, check=True)
    assert "fixed: " in repaired.stdout
    assert (tmp_path / "workspace").is_dir()
