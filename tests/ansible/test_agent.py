"""The root-owned agent: the device code outside of releases, on the standard library alone."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from .conftest import HOUSE


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
    code = str(HOUSE / "toolkit/device")
    for file in module.folder_files(code, str(folder / "device"), variables["runner_agent_patterns"]):
        Path(file["dest"]).parent.mkdir(parents=True, exist_ok=True)
        Path(file["dest"]).write_text(file["content"])
    (program,) = (file["content"] for file in variables["runner_agent_files"])
    (folder / "toolkit-agent").write_text(program.replace("{{ runner_agent_folder }}", str(folder)))
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
