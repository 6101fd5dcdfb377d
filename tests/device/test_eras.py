"""The device code on the OpenVINO releases that old devices have, in a real Python 3.9: `just test-eras`."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

import toolkit
from toolkit.convert.eras import find_python

pytestmark = pytest.mark.eras

PACKAGES = {
    "2021.4.2": ("openvino==2021.4.2", "numpy==1.19.5", "opencv-python-headless==4.10.0.84"),
    "2022.3.2": ("openvino==2022.3.2", "numpy==1.24.4", "opencv-python-headless==4.10.0.84"),
}
"""The newest NumPy and OpenCV that each goes with."""


@pytest.fixture(scope="session", params=sorted(PACKAGES))
def era(request: pytest.FixtureRequest) -> tuple[str, Path]:
    """Its version, and an interpreter that has it; made once and kept for good."""
    packages = PACKAGES[request.param]
    key = hashlib.sha256("\n".join(packages).encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"), "edge-vision-toolkit", "eras")
    folder = cache / f"{request.param}-{key}"
    done = folder / "complete"
    if not done.exists():
        subprocess.run([find_python("3.9"), "-m", "venv", "--clear", folder], check=True)
        install = ["-m", "pip", "install", "--quiet", "--only-binary=:all:", *packages]
        subprocess.run([folder / "bin" / "python", *install], check=True)
        done.touch()
    return request.param, folder / "bin" / "python"


def ask(python: Path, *words: object) -> dict[str, Any]:
    command = [python, "-B", "-m", "toolkit.device", *words]
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(toolkit.__file__).parents[1],
    )
    assert done.stdout, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def test_probe_names_the_era_and_its_accelerators(era: tuple[str, Path]) -> None:
    said = ask(era[1], "probe")
    assert said["openvino"].startswith(era[0])
    assert "CPU" in said["accelerators"]
    assert said["python"].startswith("3.9")


def test_golden_answers_are_the_same_in_f32(era: tuple[str, Path], release: Path) -> None:
    said = ask(era[1], "golden", release)
    assert (said["ok"], said["precision"], said["top1_agreement"]) == (True, "f32", 1.0)
    assert said["max_abs"] < 1e-5


@pytest.mark.parametrize("scenario", ["accuracy", "single-stream", "offline"])
def test_bench_gives_a_whole_record(era: tuple[str, Path], release: Path, pictures: Path, scenario: str) -> None:
    words = ("--seconds", "0.5", "--queries", "64", "--precision", "f32", "--threads", "2", "--streams", "2")
    said = ask(era[1], "bench", release, "--scenario", scenario, "--pictures", pictures, *words)
    assert said["ok"]
    assert (said["used"]["streams"], said["used"]["precision"]) == (2, "f32")
    assert len(said["samples_ms"]) >= 12
    assert said["accuracy"] == (1.0 if scenario == "accuracy" else None)
    assert said["logged"]


def test_speed_runs_answer_as_the_current_era_does(
    run: Any, era: tuple[str, Path], release: Path, pictures: Path
) -> None:
    words = ("--pictures", pictures, "--seconds", "0.3", "--precision", "f32")
    expected = run("bench", release, "--scenario", "accuracy", *words).said
    answers = {entry["picture"]: entry["output"] for entry in expected["logged"]}
    for entry in ask(era[1], "bench", release, "--scenario", "offline", *words)["logged"]:
        assert entry["output"] == pytest.approx(answers[entry["picture"]], abs=1e-5)


def test_golden_ends_plainly_when_the_accelerator_is_missing(era: tuple[str, Path], release: Path) -> None:
    manifest = json.loads((release / "manifest.json").read_bytes())
    manifest["golden"]["tolerance"]["GPU"] = 1.0
    (release / "manifest.json").write_text(json.dumps(manifest))
    said = ask(era[1], "golden", release, "--accelerator", "GPU")
    assert "has no accelerator GPU" in said["error"]["what"]
