"""`toolkit evaluate` and `toolkit predict` run a bundle without the framework that it was trained in."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.invoke import imported_by, run


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    for label, value in (("dark", 10), ("light", 240)):
        (folder / label).mkdir(parents=True)
        for number in range(2):
            cv2.imwrite(str(folder / label / f"{number}.png"), np.full((40, 40, 3), value + number, np.uint8))
    return folder


def test_evaluate_gives_a_bundle_its_accuracy(
    tiny_bundle: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("evaluate", tiny_bundle, "--data", images, "--workspace", tmp_path / "w") == 0
    assert capsys.readouterr().out.startswith("4 images: accuracy 1.0000")


@pytest.mark.slow
def test_a_bundle_needs_no_training_framework(tiny_bundle: Path, images: Path, tmp_path: Path) -> None:
    evaluated = imported_by("evaluate", tiny_bundle, "--data", images, "--workspace", tmp_path / "w")
    assert "openvino" in evaluated
    assert not {"tensorflow", "keras", "onnxruntime", "nncf"} & evaluated
    predicted = imported_by("predict", tiny_bundle, images / "dark" / "0.png", "--workspace", tmp_path / "w")
    assert not {"tensorflow", "keras", "openvino", "toolkit.train"} & predicted
