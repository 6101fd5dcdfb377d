"""Playbooks as a user runs them: ansible-playbook from ansible/, with the repository's own settings."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
Play = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def ansible_dir() -> Path:
    return Path(__file__).parents[2] / "ansible"


@pytest.fixture(scope="session")
def play(ansible_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Play:
    """Run ansible-playbook with the given words."""
    home = tmp_path_factory.mktemp("ansible")
    environment = {
        **os.environ,
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "ANSIBLE_CONFIG": str(ansible_dir / "ansible.cfg"),
        "ANSIBLE_HOME": str(home),
        "ANSIBLE_ROLES_PATH": str(ansible_dir / "roles"),
        "ANSIBLE_FILTER_PLUGINS": str(ansible_dir / "plugins/filter"),
        "LC_ALL": "C.UTF-8",
    }

    def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
        command = [BIN / "ansible-playbook", *words]
        return subprocess.run(command, cwd=ansible_dir, env=environment, capture_output=True, text=True, check=False)

    return run
