"""The built wheel: whole, and the same bytes each time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

LOCAL = """\
all:
  hosts:
    here: {ansible_connection: local, ansible_python_interpreter: /usr/bin/python3}
"""


def build(house: Path, into: Path) -> Path:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", into],
        cwd=house,
        check=True,
        capture_output=True,
    )
    (wheel,) = into.glob("*.whl")
    return wheel


def test_wheel_is_the_same_bytes_when_built_twice(house: Path, tmp_path: Path) -> None:
    first, second = build(house, tmp_path / "first"), build(house, tmp_path / "second")
    assert first.name == second.name
    assert first.read_bytes() == second.read_bytes()


def test_wheel_holds_package_experiments_and_playbooks(house: Path, tmp_path: Path, tracked: tuple[Path, ...]) -> None:
    package = house / "toolkit"
    beside = (house / "models", house / "ansible")
    expected = {str(path.relative_to(house)) for path in tracked if package in path.parents}
    expected |= {
        f"toolkit/{path.relative_to(house)}"
        for path in tracked
        if set(beside) & {*path.parents} and "/." not in str(path.relative_to(house))
    }
    expected |= {f"toolkit/requirements/device{kind}.txt" for kind in ("", "-2023", "-archive")}
    with zipfile.ZipFile(build(house, tmp_path)) as wheel:
        held = {name for name in wheel.namelist() if ".dist-info/" not in name and not name.endswith(".pyc")}
    assert held == expected


def test_wheel_provisions_without_the_checkout(house: Path, tmp_path: Path) -> None:
    installed, away = tmp_path / "site", tmp_path / "away"
    with zipfile.ZipFile(build(house, tmp_path)) as wheel:
        wheel.extractall(installed)
    away.mkdir()
    (away / "hosts.yml").write_text(LOCAL)
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); from toolkit.cli.main import main; main()"
    command = [sys.executable, "-I", "-c", code, installed, "provision", "-i", "hosts.yml", "--json", "--"]
    environment = {**os.environ, "PYTHONPATH": str(installed), "ANSIBLE_LOCAL_TEMP": str(tmp_path / "ansible")}
    done = subprocess.run([*command, "--check"], cwd=away, capture_output=True, text=True, env=environment, check=False)
    assert json.loads(done.stdout)["devices"]["here"]["ok"] >= 2, done.stderr  # the roles and their plugins were found
    variables = [word for word in _words_of_ansible(installed) if word.startswith("toolkit_")]
    for named in (Path(word.partition("=")[2]) for word in variables):
        assert named.is_relative_to(installed)
        assert named.is_dir()


def _words_of_ansible(installed: Path) -> list[str]:
    """What the installed package adds to ansible-playbook's command."""
    code = "from toolkit.fleet.provisioning import _sources, playbook_folder; print(*_sources(playbook_folder()))"
    command = [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(installed)!r}); {code}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
