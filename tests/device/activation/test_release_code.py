from __future__ import annotations

import os
from pathlib import Path

import pytest

from toolkit.device.activation import release_code
from toolkit.device.activation.release_code import Runtime

ROOT = Path("/opt/toolkit")


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    (tmp_path / "gate-user").write_text("toolkit\n")
    return tmp_path


@pytest.mark.parametrize(
    ("user", "begins"),
    [
        (0, ["setpriv", "--reuid=toolkit", "--regid=toolkit", "--init-groups", "--no-new-privs"]),
        (1000, ["sudo", "-n", "-u", "toolkit"]),
    ],
)
def test_agent_runs_releases_as_the_user_of_their_service(
    agent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: int, begins: list[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    argv = Runtime("python", agent=agent).argv(ROOT, tmp_path, "golden", str(tmp_path))
    own = ["python", "-B", "-m", "device", "golden", str(tmp_path)]
    assert argv[8:] == [*begins, str(agent / "toolkit-gate"), str(tmp_path), *own]


def test_agent_leaves_a_release_with_a_container_to_its_engine(agent: Path, tmp_path: Path) -> None:
    (tmp_path / "container-image").write_text("runner:1\n")
    assert Runtime("python", agent=agent).argv(ROOT, tmp_path, "golden")[8] == "python"


def test_code_outside_of_the_agent_changes_no_user(tmp_path: Path) -> None:
    assert release_code.agent_folder() is None
    assert Runtime("python").argv(ROOT, tmp_path, "golden")[8] == "python"
