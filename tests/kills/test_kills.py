"""kill -9 in every stage: the next run heals, its bytes are those of a run that was never disturbed, no part stays.

Once for each stage in `just test`; `just kills 50` does it as often as that, evenly over all the files that a stage changes.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from toolkit.artifacts.fleet import Device
from toolkit.artifacts.model import TrainedModel
from toolkit.deploy.offline import write_archive
from toolkit.deploy.registry.publish import publish
from toolkit.device.release.verify import verify
from toolkit.store import Store

from ..deploy.conftest import bundle, make_bundle, other_bundle  # noqa: F401 - fixtures
from ..test_pipeline import EXPERIMENT, draw, save_body
from .registry import serve_registry

KILLS = int(os.environ.get("KILLS", "1"))
HERE = Path(__file__).parent
TIMEOUT_S = 180
DATE = re.compile(r"\d{4}-\d\d-\d\d[ T][\d:.]+(Z|\+00:00)?")
pytestmark = [pytest.mark.timeout(600 + 240 * KILLS), pytest.mark.slow]


@dataclass(frozen=True)
class Stage:
    """A command, the folder that it changes, and what it leaves there."""

    argv: list[str]
    folder: Path
    results: Callable[[], dict[str, str]]
    """The digests of what has to be alike, by name."""
    between: Callable[[], None] = field(default=lambda: None)
    """Holds also right after the kill, before the next run."""
    paths: str = ""
    """Pattern of the paths whose changes count; default: all of the folder."""

    def run(self, at: int = 0) -> tuple[int, int, str]:
        """Run it, killed at a change; return the exit code, the number of changes, and what it printed."""
        log = self.folder.with_name("changes")
        log.unlink(missing_ok=True)
        own = {"KILL_LOG": str(log), "KILL_AT": str(at), "KILL_PATHS": self.paths or f"^{self.folder}/"}
        environment = {**os.environ, **own, "PYTHONPATH": f"{HERE}:{HERE.parents[1]}"}
        with subprocess.Popen(
            self.argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        ) as process:
            output, _ = process.communicate(timeout=TIMEOUT_S)
        return process.returncode, log.stat().st_size if log.exists() else 0, output.decode(errors="replace")


def hold(stage: Stage) -> None:
    """Kill the stage again and again, each time from the same beginning; hold what this module promises."""
    beginning = stage.folder.with_name("beginning")
    shutil.copytree(stage.folder, beginning, symlinks=True)
    code, changes, output = stage.run()
    assert (code, changes > 2) == (0, True), output
    expected = stage.results()
    assert expected
    for number in range(KILLS):
        at = 1 + (number * changes + random.randrange(changes)) // KILLS
        shutil.rmtree(stage.folder)
        shutil.copytree(beginning, stage.folder, symlinks=True)
        code, _, output = stage.run(at)
        assert code in {-signal.SIGKILL, 0}, (at, changes, output)  # 0: it ended within the 20 ms
        stage.between()
        code, _, output = stage.run()
        assert code == 0, (at, changes, output)
        assert stage.results() == expected, (at, changes, output)
        assert parts(stage.folder) == [], (at, changes)


def parts(folder: Path) -> list[str]:
    """What killed processes have left."""
    return [
        path.relative_to(folder).as_posix()
        for pattern in (".part-*", "*.part", "*.new", "deploy.lock", "checkpoint.npz")
        for path in folder.rglob(pattern)
    ]


def digests(folder: Path, *patterns: str) -> dict[str, str]:
    """The digests of the files below a folder that match."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for pattern in patterns
        for path in folder.glob(pattern)
        if path.is_file()
    }


def toolkit(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "toolkit", *map(str, arguments)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an experiment, and a workspace `work` in which it was trained."""
    folder = tmp_path_factory.mktemp("trained")
    for label in ("bar", "disc"):
        draw(folder / "images", label, 16)
    save_body(folder / "body.keras")
    (folder / "shapes.toml").write_text(EXPERIMENT)
    subprocess.run(toolkit("train", folder / "shapes.toml", "--workspace", folder / "work"), check=True)
    return folder


def test_train_heals_when_it_was_killed(trained: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()

    def results() -> dict[str, str]:
        with Store(work / "toolkit.db") as store:
            return {model.stage: model.digest for model in store.all(TrainedModel)}

    hold(Stage(toolkit("train", trained / "shapes.toml", "--workspace", work), work, results))


@pytest.mark.parametrize(("name", "paths"), [("convert", "/work/ir/|/work/runs/"), ("bundle", "/work/bundles/")])
def test_convert_heals_when_it_was_killed(trained: Path, tmp_path: Path, name: str, paths: str) -> None:
    work = shutil.copytree(trained / "work", tmp_path / "work")
    with Store(work / "toolkit.db") as store:
        model = store.all(TrainedModel)[-1].digest
    argv = toolkit("convert", model, "--precision", "fp32", "--workspace", work)
    hold(Stage(argv, work, lambda: digests(work, "ir/*/*", "bundles/*/*", "bundles/*/golden/*"), paths=paths))


def test_report_heals_when_it_was_killed(trained: Path, tmp_path: Path) -> None:
    """It says when it was written, so each page is compared without its dates."""
    work = shutil.copytree(trained / "work", tmp_path / "work")

    def results() -> dict[str, str]:
        pages = {
            path.relative_to(work).as_posix(): DATE.sub("", path.read_text()) for path in work.glob("report*/**/*.html")
        }
        return {**pages, **digests(work, "report*/**/*.json", "report*/**/*.csv")}

    hold(Stage(toolkit("report", "--workspace", work), work, results))


@pytest.fixture
def device(tmp_path: Path, bundle: Path) -> Path:  # noqa: F811 - the fixture
    """ROOT of a device that serves `bundle`."""
    root = tmp_path / "root"
    write_archive(bundle, tmp_path / "first.tar")
    subprocess.run(on_device("install", tmp_path / "first.tar", "--root", root), check=True, capture_output=True)
    return root


def on_device(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-B", "-m", "toolkit.device", *map(str, arguments)]


def device_stage(argv: list[str], root: Path, paths: str = "") -> Stage:
    """A stage that changes ROOT: whatever is killed, a whole release serves."""

    def serves() -> None:
        assert verify((root / "current").resolve())["problems"] == []

    def results() -> dict[str, str]:
        serves()
        links = {name: str((root / name).readlink()) for name in ("current", "previous")}
        return {**links, **digests(root, "current/**/*", "store/*", "releases/*/**/*")}

    return Stage(argv, root, results, serves, paths)


def test_install_heals_when_it_was_killed(device: Path, other_bundle: Path, tmp_path: Path) -> None:  # noqa: F811
    write_archive(other_bundle, tmp_path / "second.tar")
    hold(device_stage(on_device("install", tmp_path / "second.tar", "--root", device), device))


def test_activation_heals_when_it_was_killed(device: Path, other_bundle: Path, tmp_path: Path) -> None:  # noqa: F811
    write_archive(other_bundle, tmp_path / "second.tar")
    paths = r"/root/(\.?current|\.?previous|audit|state|deploy\.lock)"
    hold(device_stage(on_device("install", tmp_path / "second.tar", "--root", device), device, paths))


def test_pull_heals_when_it_was_killed(device: Path, other_bundle: Path) -> None:  # noqa: F811
    with serve_registry() as address:
        publish(other_bundle, f"{address}/vision/kitchen:stable")
        argv = on_device("pull", f"{address}/vision/kitchen:stable", "--root", device, "--report", "one")
        hold(device_stage(argv, device))


def test_deploy_heals_when_it_was_killed(
    devices: tuple[Device, ...],
    write_inventory: Callable[..., Path],
    bundle: Path,  # noqa: F811
    other_bundle: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    """The controller, at any time: its own files say too little of where a rollout is."""
    root, inventory = Path(devices[0].root), write_inventory(devices[:1])
    common = ("--fleet", "--inventory", inventory, "--workspace", tmp_path / "work")
    argv = toolkit("deploy", other_bundle, *common)
    stage = device_stage(argv, root)
    subprocess.run(toolkit("deploy", bundle, *common), check=True, capture_output=True)
    beginning = shutil.copytree(root, tmp_path / "beginning", symlinks=True)
    begin = time.monotonic()
    subprocess.run(argv, check=True, capture_output=True)
    duration_s, expected = time.monotonic() - begin, stage.results()
    for number in range(KILLS):
        shutil.rmtree(root)
        shutil.copytree(beginning, root, symlinks=True)
        with subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        ) as process:
            time.sleep(duration_s * (0.3 + 0.7 * (number + random.random()) / KILLS))
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        stage.between()
        until_free(root)
        done = subprocess.run(argv, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert stage.results() == expected
        assert parts(root) == []


def until_free(root: Path) -> None:
    """Wait until the device has noticed that its controller is gone."""
    deadline = time.monotonic() + 60
    while (root / "deploy.lock").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
