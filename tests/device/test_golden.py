from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Command = Callable[..., Any]


def test_golden_is_ok_and_computes_in_f32(run: Command, release: Path) -> None:
    answer = run("golden", release)
    assert answer.code == 0
    assert answer.said["max_abs"] < 1e-6
    assert (answer.said["precision"], answer.said["count"], answer.said["top1_agreement"]) == ("f32", 8, 1.0)


def test_golden_fails_when_answers_are_off(run: Command, release: Path) -> None:
    path = release / "golden" / "outputs.npy"
    np.save(path, 1 - np.load(path))
    answer = run("golden", release)
    assert (answer.code, answer.said["ok"], answer.said["top1_agreement"]) == (1, False, 0.0)
    assert answer.said["max_abs"] > answer.said["tolerance"]


def test_golden_says_so_when_bundle_is_not_for_the_accelerator(run: Command, release: Path) -> None:
    answer = run("golden", release, "--accelerator", "MYRIAD")
    assert answer.code == 1
    assert "no tolerance for MYRIAD" in answer.said["error"]["what"]


def test_golden_ends_with_4_when_the_model_cannot_be_loaded(run: Command, release: Path) -> None:
    (release / "model.xml").write_text("<net")
    answer = run("golden", release)
    assert answer.code == 4
    assert "model.xml" in answer.said["error"]["where"]


def test_golden_fails_when_its_files_are_gone(run: Command, release: Path) -> None:
    shutil.rmtree(release / "golden")
    assert "cannot be read" in run("golden", release).said["error"]["what"]


def test_predict_ranks_and_names_unreadable_pictures(
    run: Command, release: Path, pictures: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes((pictures / "000000.png").read_bytes()[:200])
    answer = run("predict", release, pictures / "000000.png", pictures / "000001.png", broken)
    dark, light, bad = answer.said["predictions"]
    assert answer.code == 1
    assert (dark["ranking"][0]["label"], light["ranking"][0]["label"]) == ("dark", "light")
    assert "broken.png: truncated PNG" in bad["error"]
