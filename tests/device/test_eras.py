"""The device code on the OpenVINO releases that old devices have, in a real Python 3.9: `just test-eras`."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import toolkit
from toolkit import wheels
from toolkit.convert.pythons import get_python
from toolkit.progress import Silent

pytestmark = pytest.mark.eras

PACKAGES = {
    "2021.4.2": ("openvino==2021.4.2", "numpy==1.19.5", "opencv-python-headless==4.10.0.84"),
    "2022.3.2": ("openvino==2022.3.2", "numpy==1.24.4", "opencv-python-headless==4.10.0.84"),
}
"""The newest NumPy and OpenCV that each goes with."""
PIP = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
PIP += ["--only-binary=:all:", "--python-version=3.9", "--implementation=cp", "--abi=cp39", "--abi=abi3", "--abi=none"]
PIP += ["--platform=manylinux2014_x86_64", "--platform=manylinux_2_17_x86_64", "--platform=manylinux2010_x86_64"]


@dataclass(frozen=True)
class Runtime:
    """An OpenVINO of an era on its Python."""

    version: str
    python: Path
    packages: Path

    def ask(self, *words: object, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
        """What the device code says there."""
        command = [self.python, "-B", "-m", "toolkit.device", *words]
        paths = os.pathsep.join((str(self.packages), str(Path(toolkit.__file__).parents[1])))
        done = subprocess.run(
            [str(word) for word in command],
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": paths, "PYTHONNOUSERSITE": "1", **(environment or {})},
        )
        assert done.stdout, done.stderr
        said: dict[str, Any] = json.loads(done.stdout)
        return said


@pytest.fixture(scope="session", params=sorted(PACKAGES))
def era(request: pytest.FixtureRequest) -> Runtime:
    """One for each of PACKAGES; fetched once and kept for good."""
    packages = PACKAGES[request.param]
    key = hashlib.sha256("\n".join(packages).encode()).hexdigest()[:12]
    folder = wheels.cache_folder().parent / "eras" / f"{request.param}-{key}-packages"
    if not folder.exists():
        with tempfile.TemporaryDirectory(prefix=".part-", dir=folder.parent) as beside:
            new = Path(beside) / "new"
            subprocess.run([*PIP, "--target", new, *packages], check=True)
            new.rename(folder)
    return Runtime(request.param, get_python("3.9", Silent()), folder)


def test_probe_names_the_era_and_its_accelerators(era: Runtime) -> None:
    said = era.ask("probe")
    assert said["openvino"].startswith(era.version)
    assert "CPU" in said["accelerators"]
    assert said["python"].startswith("3.9")


def test_golden_answers_are_the_same_in_f32(era: Runtime, release: Path) -> None:
    said = era.ask("golden", release)
    assert (said["ok"], said["precision"], said["top1_agreement"]) == (True, "f32", 1.0)
    assert said["max_abs"] < 1e-5


@pytest.mark.parametrize("scenario", ["accuracy", "single-stream", "offline"])
def test_bench_gives_a_whole_record(era: Runtime, release: Path, pictures: Path, scenario: str) -> None:
    words = ("--seconds", "0.5", "--queries", "64", "--precision", "f32", "--threads", "2", "--streams", "2")
    said = era.ask("bench", release, "--scenario", scenario, "--pictures", pictures, *words)
    assert said["ok"]
    assert (said["used"]["streams"], said["used"]["precision"]) == (2, "f32")
    assert len(said["samples_ms"]) >= 12
    assert said["accuracy"] == (1.0 if scenario == "accuracy" else None)
    assert said["logged"]


def test_speed_runs_answer_as_the_current_era_does(run: Any, era: Runtime, release: Path, pictures: Path) -> None:
    words = ("--pictures", pictures, "--seconds", "0.3", "--precision", "f32")
    expected = run("bench", release, "--scenario", "accuracy", *words).said
    answers = {entry["picture"]: entry["output"] for entry in expected["logged"]}
    for entry in era.ask("bench", release, "--scenario", "offline", *words)["logged"]:
        assert entry["output"] == pytest.approx(answers[entry["picture"]], abs=1e-5)


def test_golden_ends_plainly_when_the_accelerator_is_missing(era: Runtime, release: Path) -> None:
    manifest = json.loads((release / "manifest.json").read_bytes())
    manifest["golden"]["tolerance"]["GPU"] = 1.0
    (release / "manifest.json").write_text(json.dumps(manifest))
    said = era.ask("golden", release, "--accelerator", "GPU")
    assert "has no accelerator GPU" in said["error"]["what"]
