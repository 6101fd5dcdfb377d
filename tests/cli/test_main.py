from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.invoke import run
from toolkit import __version__

HEAVY = {"tensorflow", "openvino", "cv2", "numpy", "polars", "fabric", "asyncssh", "pydantic"}


def test_main_prints_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out.startswith(f"toolkit {__version__}\npython 3.")


def test_main_exits_2_when_the_verb_is_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("frobnicate") == 2
    assert "No such command" in capsys.readouterr().err


def test_main_exits_3_with_every_problem_of_the_experiment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.toml"
    path.write_text('name = "bad"\n[data]\nsource = "nowhere"\n[matrix]\nnetworks = []\n')
    assert run("run", str(path), "--json", "--workspace", str(tmp_path / "w")) == 3
    captured = capsys.readouterr()
    problems = json.loads(captured.out)["errors"]
    assert {problem["where"] for problem in problems} == {
        f"{path}: data.source",
        f"{path}: matrix.networks",
    }
    assert captured.err.count("error: ") == 2


def test_help_imports_nothing_heavy() -> None:
    script = "import sys, toolkit.cli.main as m\ntry: m.main(['--help'])\nexcept SystemExit: print(*sys.modules)"
    listing = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert not HEAVY & set(listing.splitlines()[-1].split())
