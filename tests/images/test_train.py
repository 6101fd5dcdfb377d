"""The training image at work: a tiny experiment, trained, converted, deployed and measured in it; and from outside."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1800)]

IMAGE = "edge-vision/train:dev"
EXPERIMENT = """
name = "tones"
[data]
source = "folders"
path = "images"
split = { train = 0.5, validation = 0.25, test = 0.25 }
[matrix]
networks = ["mobilenet"]
heads = ["sigmoid"]
[train]
hidden = [4]
batch_size = 8
[[stages]]
name = "fine-tune"
epochs = 1
[networks.mobilenet]
weights = "none"
input_size = 32
[convert]
precisions = ["fp32"]
[bench]
seconds = 0.1
queries = 8
"""


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    rng = np.random.default_rng(3)
    for label, tone in (("dark", 0), ("light", 120)):
        (tmp_path / "images" / label).mkdir(parents=True)
        for number in range(16):
            image = (rng.integers(0, 120, (40, 40, 3)) + tone).astype(np.uint8)
            assert cv2.imwrite(str(tmp_path / "images" / label / f"{number}.png"), image)
    path = tmp_path / "tones.toml"
    path.write_text(EXPERIMENT)
    return path


def test_run_works_in_the_image_with_folders_mounted(experiment: Path) -> None:
    folder = experiment.parent
    (folder / "workspace").mkdir(mode=0o777)
    (folder / "workspace").chmod(0o777)
    command = ["docker", "run", "--rm", "--init", "--network", "none", "--volume", f"{folder}:/work"]
    command += ["--user", "0:0", "--env", "TOOLKIT_TUNE=300", IMAGE]
    command += ["toolkit", "run", "tones.toml", "--limit", "local-1", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:] or done.stdout[-6000:]
    result = json.loads(done.stdout)
    (model,) = result["models"]
    assert model["versions"]["build"] == "mkl"
    assert result["failed"] == []
    assert [record["scenario"] for record in result["records"]] == ["accuracy", "single-stream", "offline"]
    assert list((folder / "workspace" / "bundles").iterdir())
    assert list((folder / "workspace" / "profiles").glob("*-train/mobilenet.json")), "the machine was measured once"
    assert (folder / "workspace" / "reports").is_dir()


def test_tune_finds_tcmalloc_in_the_image() -> None:
    code = "from toolkit.train.tuning.search_space import allocators_here; print(*(path.name for path in allocators_here()))"
    command = ["docker", "run", "--rm", "--network", "none", "--entrypoint", "python3", IMAGE, "-c", code]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "libtcmalloc_minimal.so.4\n"


def test_train_in_image_leaves_models_that_this_side_converts(experiment: Path) -> None:
    def toolkit(*argv: str) -> subprocess.CompletedProcess[str]:
        command = [
            sys.executable,
            "-m",
            "toolkit",
            *argv,
            "--workspace",
            str(experiment.parent / "workspace"),
            "--json",
        ]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=experiment.parent)

    trained = toolkit("train", str(experiment), "--in-container", "--tune", "0")
    assert trained.returncode == 0, trained.stderr[-3000:]
    (model,) = json.loads(trained.stdout)
    assert model["versions"]["build"] == "mkl"
    assert toolkit("train", str(experiment), "--in-container", "--tune", "0").returncode == 0
    converted = toolkit("convert", "mobilenet-sigmoid-fine-tune")
    assert converted.returncode == 0, converted.stderr[-3000:]


def test_python_finds_its_packages_in_any_environment() -> None:
    command = ["docker", "run", "--rm", "--entrypoint", "/usr/bin/env", IMAGE, "-i", "/usr/bin/python3", "-c"]
    subprocess.run([*command, "import cv2, numpy, openvino, toolkit"], check=True)


def test_image_is_of_no_special_user_and_holds_no_secret_place(experiment: Path) -> None:
    program = "import os; print(os.getuid(), os.access('/opt/toolkit', os.W_OK), os.path.exists('/run/secrets'))"
    command = ["docker", "run", "--rm", "--entrypoint", "python3", IMAGE, "-c", program]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "10001 False False\n"
