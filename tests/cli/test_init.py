from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.invoke import run
from toolkit.experiment.load import load_experiment


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (tmp_path / "pets" / label).mkdir(parents=True)
        for number in range(10):
            assert cv2.imwrite(
                str(tmp_path / "pets" / label / f"{number}.png"), rng.integers(0, 256, (9, 9, 3), np.uint8)
            )
    return tmp_path / "pets"


def test_init_writes_every_setting_with_a_comment(pets: Path, tmp_path: Path) -> None:
    assert run("init", pets, "--workspace", tmp_path / "w") == 0
    text = pets.with_suffix(".toml").read_text(encoding="utf-8")
    explained = (
        "label_smoothing",
        "learning_rate",
        "schedule",
        "weight_decay",
        "clip_norm",
        "head_rate",
        "flip",
    )
    lines = {line.partition(" = ")[0]: line for line in text.splitlines()}
    assert all("  # " in lines[name] for name in explained)
    assert load_experiment(pets.with_suffix(".toml")).heads == load_experiment(pets).heads


def test_init_replaces_a_file_only_with_force(pets: Path, tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text("mine")
    assert run("init", pets, "--output", file, "--workspace", tmp_path / "w") == 2
    assert file.read_text() == "mine"
    assert run("init", pets, "--output", file, "--force", "--workspace", tmp_path / "w") == 0
    assert load_experiment(file).name == "pets"
