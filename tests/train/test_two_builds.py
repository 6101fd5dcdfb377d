"""A model trained by the MKL build under a profile, converted by that build, and used by the stock one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from toolkit.experiment import compute_profiles
from toolkit.experiment.compute_profiles import ComputeProfile
from toolkit.networks import keras_files
from toolkit.workspace import Workspace

EXPERIMENT = """
name = "two-builds"
[data]
source = "folders"
path = "images"
split = { train = 0.5, validation = 0.25, test = 0.25 }
[matrix]
networks = ["mobilenet"]
heads = ["softmax"]
[train]
hidden = []
batch_size = 4
[networks.mobilenet]
weights = "none"
input_size = 32
[[stages]]
name = "top"
epochs = 1
optimizer = "adam"
schedule = "constant"
weight_decay = 0
clip_norm = 0
average = 0
[[stages]]
name = "fine-tune"
epochs = 1
optimizer = "adam"
schedule = "constant"
weight_decay = 0
clip_norm = 0
average = 0
batch_norm = "inference"
"""
MKL = Path(__file__).parents[2] / ".venv-mkl/bin/python"
"""The interpreter with the MKL build: `scripts/setup.sh mkl`."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two-builds")
    draw = np.random.default_rng(0)
    for label, channel in (("blue", 0), ("red", 2)):
        (folder / "images" / label).mkdir(parents=True)
        for number in range(12):
            image = draw.integers(0, 120, (32, 32, 3)).astype(np.uint8)
            image[..., channel] += 100
            cv2.imwrite(str(folder / "images" / label / f"{number}.png"), image)
    (folder / "two-builds.toml").write_text(EXPERIMENT)
    return folder


def toolkit(python: Path | str, folder: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    command = [python, "-P", "-m", "toolkit", *argv, "--workspace", folder / "workspace"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.mkl
@pytest.mark.timeout(900)  # four commands, each of which starts a TensorFlow
def test_train_switches_build_when_the_profile_names_another(folder: Path) -> None:
    profile = ComputeProfile(name="mobilenet", python=MKL, environment={"OMP_NUM_THREADS": "1"}, intra_op=1)
    compute_profiles.save_profile(profile, [], Workspace(folder / "workspace"))
    first = toolkit(sys.executable, folder, "train", "two-builds.toml")
    assert f"profile mobilenet, {MKL}, 1 threads, OMP_NUM_THREADS=1" in first.stderr
    *_, last = json.loads(toolkit(sys.executable, folder, "train", "two-builds.toml", "--json").stdout)
    assert last["versions"]["build"] == "mkl"
    assert last["versions"]["keras"].startswith("2.")

    model = f"{last['network']}-{last['head']}-{last['stage']}"
    by_mkl = json.loads(toolkit(MKL, folder, "convert", model, "--precision", "fp32", "--json").stdout)
    by_stock = json.loads(toolkit(sys.executable, folder, "convert", model, "--precision", "fp32", "--json").stdout)
    assert by_mkl
    assert by_stock
    assert keras_files.load_model(folder / "workspace" / last["path"]).count_params() == last["parameters"]
