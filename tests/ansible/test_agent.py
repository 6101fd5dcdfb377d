"""The root-owned agent: the device code outside of releases, on the standard library alone."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from toolkit.deploy.session import CODE, PROTOCOL
from toolkit.fleet.transfer.scripts import program

from .conftest import REPOSITORY


@pytest.fixture(scope="module")
def agent(ansible_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The agent's program as the role runner writes it, in a folder of this machine."""
    folder = tmp_path_factory.mktemp("agent")
    path = ansible_dir / "plugins/filter/files.py"
    specification = importlib.util.spec_from_file_location("files", path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    variables = yaml.safe_load((ansible_dir / "roles/runner/vars/main.yml").read_text())
    code = str(REPOSITORY / "toolkit/device")
    for file in module.folder_files(code, str(folder / "device"), variables["runner_agent_patterns"]):
        Path(file["dest"]).parent.mkdir(parents=True, exist_ok=True)
        Path(file["dest"]).write_text(file["content"])
    for file in (each for each in variables["runner_agent_files"] if "content" in each):
        content = (
            file["content"].replace("{{ runner_agent_folder }}", str(folder)).replace("{{ runner_user }}", "nobody")
        )
        name = file["dest"].rpartition("/")[2] if "/" in file["dest"] else "toolkit-agent"
        (folder / name).write_text(content.replace("{{ runner_root }}", str(folder / "root")))
        (folder / name).chmod(0o755)
    return folder / "toolkit-agent"


def run(agent: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Without site-packages, as on a device that has the system's Python only."""
    command = [sys.executable, "-I", "-S", agent, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")


def test_agent_verifies_a_bundle_without_any_package(agent: Path, tiny_bundle: Path) -> None:
    done = run(agent, "verify", tiny_bundle)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ok"] is True
    assert not list(agent.parent.rglob("__pycache__"))


def test_agent_reports_a_changed_file(agent: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    for file in tiny_bundle.rglob("*"):
        if file.is_file():
            target = tmp_path / file.relative_to(tiny_bundle)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    model = next(tmp_path.rglob("*.bin"))
    model.write_bytes(model.read_bytes() + b"more")
    done = run(agent, "verify", tmp_path)
    assert done.returncode == 1
    assert model.name in done.stdout


@pytest.mark.parametrize("command", ["pull", "install"])
def test_agent_has_the_commands_that_install_releases(agent: Path, command: str) -> None:
    done = run(agent, command, "--help")
    assert done.returncode == 0, done.stderr


def test_agent_serves_the_sessions_of_the_controller(agent: Path, tmp_path: Path) -> None:
    requests = [{"do": "lock", "name": "deploy", "info": "me", "break": False}, {"do": "what"}, {"do": "end"}]
    stdin = program(CODE) + b"".join(json.dumps(request).encode() + b"\n" for request in requests)
    command = [sys.executable, "-I", "-S", agent, "session", tmp_path / "root"]
    done = subprocess.run(command, input=stdin, capture_output=True, check=False, timeout=60)
    held, refused, ended = (json.loads(line) for line in done.stdout.splitlines())
    assert (held["ok"], held["protocol"], done.returncode) == (True, PROTOCOL, 0)
    assert "is not valid" in refused["error"]["what"]
    assert ended == {"ok": True}
    assert not (tmp_path / "root/deploy.lock").exists()


def test_gate_runs_a_command_in_the_release_with_its_settings(agent: Path, tmp_path: Path) -> None:
    root = agent.parent / "root"
    root.mkdir()
    (root / "environment").write_text("# a comment\nLIBRARY=one two\n")
    gate = [agent.parent / "toolkit-gate", tmp_path, "/bin/sh", "-c", 'pwd; echo "$LIBRARY"']
    done = subprocess.run(gate, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [str(tmp_path), "one two"]


def test_floors_are_checked_by_a_program_of_roots(agent: Path) -> None:
    program_ = agent.parent / "toolkit-floor"
    command = [sys.executable, "-I", "-S", program_]
    for request, problem in (
        ({"documents": {}, "release": "a", "channel": "stable", "where": "here"}, "has no channel.json"),
        ({"documents": ["x"]}, "the request is not valid"),
    ):
        done = subprocess.run(command, input=json.dumps(request), capture_output=True, text=True, check=False)
        assert done.returncode == 1, done.stderr
        assert problem in json.loads(done.stdout)["error"]["what"]
