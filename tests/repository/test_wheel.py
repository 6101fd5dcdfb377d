"""The built wheel: whole, and the same bytes each time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ALONE = "--provenance=false"
"""An image without the record of its build, which differs each time."""
LOCAL = """\
all:
  hosts:
    here: {ansible_connection: local, ansible_python_interpreter: /usr/bin/python3}
"""


def build(repository: Path, into: Path) -> Path:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", into],
        cwd=repository,
        check=True,
        capture_output=True,
    )
    (wheel,) = into.glob("*.whl")
    return wheel


def test_wheel_is_the_same_bytes_when_built_twice(repository: Path, tmp_path: Path) -> None:
    first, second = build(repository, tmp_path / "first"), build(repository, tmp_path / "second")
    assert first.name == second.name
    assert first.read_bytes() == second.read_bytes()


def test_wheel_holds_package_experiments_images_and_playbooks(
    repository: Path, tmp_path: Path, tracked: tuple[Path, ...]
) -> None:
    package = repository / "toolkit"
    beside = (repository / "models", repository / "ansible", repository / "images", repository / "requirements/legacy")
    expected = {str(path.relative_to(repository)) for path in tracked if package in path.parents}
    expected |= {
        f"toolkit/{path.relative_to(repository)}"
        for path in tracked
        if set(beside) & {*path.parents} and "/." not in str(path.relative_to(repository))
    }
    expected |= {f"toolkit/requirements/device{kind}.txt" for kind in ("", "-2023", "-archive")}
    expected |= {"toolkit/requirements/vex.toml"} | {
        f"toolkit/requirements/image-{kind}.txt" for kind in ("runner", "train")
    }
    with zipfile.ZipFile(build(repository, tmp_path)) as wheel:
        held = {name for name in wheel.namelist() if ".dist-info/" not in name and not name.endswith(".pyc")}
    assert held == expected


@pytest.mark.slow
def test_wheel_provisions_without_the_checkout(repository: Path, tmp_path: Path) -> None:
    installed = install(build(repository, tmp_path), tmp_path / "site")
    (tmp_path / "hosts.yml").write_text(LOCAL)
    environment = {"PYTHONPATH": str(installed), "ANSIBLE_LOCAL_TEMP": str(tmp_path / "ansible")}
    done = run(installed, "provision", "-i", "hosts.yml", "--json", "--", "--check", **environment)
    assert json.loads(done.stdout)["devices"]["here"]["ok"] >= 2, done.stderr  # the roles and their plugins were found
    variables = [word for word in _ansible_variables(installed) if word.startswith("toolkit_")]
    for named in (Path(word.partition("=")[2]) for word in variables):
        assert named.is_relative_to(installed)
        assert named.is_dir()


def test_wheel_names_its_own_program_where_no_engine_runs(repository: Path, tmp_path: Path) -> None:
    installed = install(build(repository, tmp_path), tmp_path / "site")
    done = run(installed, "build", "runner", "--json", PATH="/usr/bin:/bin", DOCKER_HOST="unix:///nowhere")
    assert done.returncode == 4, done.stderr
    assert f"as root: {installed}/toolkit/images/engine.sh install" in done.stderr
    assert json.loads(done.stdout) == {"exit_code": 4, "images": {}}


@pytest.mark.engine
def test_image_built_by_the_wheel_is_that_of_the_checkout(repository: Path, tmp_path: Path) -> None:
    installed = install(build(repository, tmp_path), tmp_path / "site")
    settings = {"REVISION": "none", "SOURCE": "", "TAG": "from-wheel"}
    command = [sys.executable, repository / "images/build.py", "runner", ALONE, "--metadata-file", tmp_path / "ours"]
    subprocess.run(command, env=os.environ | settings, check=True)
    ours = json.loads((tmp_path / "ours").read_text())["runner"]
    done = run(installed, "build", "--json", "runner", "--", ALONE, **settings)
    built = json.loads(done.stdout)["images"]["edge-vision/runner:from-wheel"]
    assert built == ours["containerimage.digest"], done.stderr


def install(wheel: Path, folder: Path) -> Path:
    """Unpack the wheel as pip does, with the permissions of its files."""
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            Path(archive.extract(entry, folder)).chmod(entry.external_attr >> 16 & 0o777)
    return folder


def run(installed: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the installed command in a folder without the checkout."""
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); from toolkit.cli.main import main; main()"
    command = [sys.executable, "-I", "-c", code, installed, *arguments]
    return subprocess.run(
        command, cwd=installed.parent, capture_output=True, text=True, env=os.environ | environment, check=False
    )


def _ansible_variables(installed: Path) -> list[str]:
    """What the installed package adds to ansible-playbook's command."""
    code = "from toolkit.fleet.provisioning import _sources, playbook_folder; print(*_sources(playbook_folder()))"
    command = [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(installed)!r}); {code}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
