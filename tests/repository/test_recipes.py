"""The Justfile, the scripts behind it, and what README and CI say of them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def recipes(repository: Path) -> dict[str, dict[str, object]]:
    dump = subprocess.run(
        [BIN / "just", "--dump", "--dump-format", "json"], cwd=repository, check=True, capture_output=True
    )
    return json.loads(dump.stdout)["recipes"]


def commands_of(workflow: Path) -> list[str]:
    jobs = yaml.safe_load(workflow.read_text())["jobs"]
    return [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]


def test_recipes_explain_themselves_when_listed(recipes: dict[str, dict[str, object]]) -> None:
    assert [name for name, recipe in recipes.items() if not recipe["doc"]] == []


def test_recipes_exist_when_the_readme_or_ci_names_them(repository: Path, recipes: dict[str, object]) -> None:
    blocks = re.findall(
        r"^```(?:sh|console)\n(.*?)^```", (repository / "README.md").read_text(), re.MULTILINE | re.DOTALL
    )
    texts = [*blocks, *commands_of(repository / ".github/workflows/ci.yml")]
    named = {name for text in texts for name in re.findall(r"\bjust ([a-z][a-z0-9-]*)", text)}
    assert {"demo", "test", "lint"} <= named
    assert named - recipes.keys() == set()


@pytest.mark.parametrize("python", ["/nowhere/python3", "false"])
def test_setup_says_which_python_it_needs_when_given_another(repository: Path, tmp_path: Path, python: str) -> None:
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    (scripts / "setup.sh").write_bytes((repository / "scripts/setup.sh").read_bytes())
    done = subprocess.run(
        ["bash", scripts / "setup.sh"],
        env={**os.environ, "PYTHON": python},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 4
    assert f"PYTHON={python} is no interpreter that runs; Python 3.11, 3.12 or 3.13 is needed" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_setup_names_missing_file_when_environment_is_unknown(repository: Path) -> None:
    done = subprocess.run(
        ["bash", repository / "scripts/setup.sh", "nowhere"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 4
    assert "there is no requirements/nowhere.txt: nowhere is not an environment" in done.stderr
    assert not (repository / ".venv-nowhere").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("def test_a(): pass", 0),
        ("import pytest\n@pytest.mark.skip\ndef test_a(): pass", 1),
        # pytest's own code for a run without tests: it fails the run as well
        ("import pytest\npytest.importorskip('nowhere')", 5),
        ("import pytest\n@pytest.mark.xfail(strict=True)\ndef test_a(): assert False", 0),
        ("import pytest\ndef test_a(): pass\n@pytest.mark.hardware\ndef test_b(): pass", 0),
    ],
)
@pytest.mark.parametrize("workers", ["0", "2"])
def test_no_skips_fails_the_run_when_a_test_was_skipped(
    repository: Path, tmp_path: Path, body: str, code: int, workers: str
) -> None:
    (tmp_path / "test_it.py").write_text(body)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = hardware\n")
    argv = ["-m", "pytest", "-q", "-p", "xdist", "-p", "no_skips", "-p", "no:cacheprovider"]
    ours = {"PYTHONPATH": str(repository / ".ci"), "PYTEST_ADDOPTS": "", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        [sys.executable, *argv, "-m", "not hardware", "-n", workers],
        cwd=tmp_path,
        env={**os.environ, **ours},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout
    assert ("was skipped, and must not be skipped in CI" in done.stdout) == (code in {1, 5})
