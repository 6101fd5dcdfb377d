from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from toolkit.cli.evaluate import evaluate
from toolkit.train.misclassified import CELL, contact_sheet, worst_mistakes
from toolkit.workspace import Workspace

if TYPE_CHECKING:
    from conftest import Bench

SHARES = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.99, 0.01], [0.4, 0.6]])
LABELS = np.array([0, 0, 0, 1, 0])


def test_worst_mistakes_begin_with_surest_when_there_are_several() -> None:
    assert worst_mistakes(LABELS, SHARES) == [3, 2, 1, 4]


def test_contact_sheet_shows_the_surest_first_when_drawn(tmp_path: Path) -> None:
    pixels = np.stack([np.full((20, 40, 3), (250, 40 * number, 0), np.uint8) for number in range(5)])
    assert contact_sheet(pixels, LABELS, SHARES, ("no", "yes"), tmp_path / "worst.png") == 4
    sheet = cv2.imread(str(tmp_path / "worst.png"))[..., ::-1]
    assert sheet.shape[1] == 4 * CELL
    middles = [tuple(int(value) for value in sheet[CELL // 2, CELL // 2 + CELL * column]) for column in range(4)]
    assert middles == [(250, 120, 0), (250, 80, 0), (250, 40, 0), (250, 160, 0)]


def test_contact_sheet_says_so_when_there_is_no_mistake(tmp_path: Path) -> None:
    pixels = np.zeros((1, 8, 8, 3), np.uint8)
    assert contact_sheet(pixels, np.array([0]), SHARES[:1], ("no", "yes"), tmp_path / "worst.png") == 0
    assert (tmp_path / "worst.png").is_file()


@pytest.mark.slow
def test_evaluate_draws_mistakes_and_prints_areas_when_asked(
    bench: Bench, workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.change("[train]", '[train]\nloss = "binary"')
    (top,) = bench.train(workspace, last="top")
    file = workspace.absolute(top.path)
    for as_json in (True, False):
        evaluate(str(file), tmp_path / "images", tmp_path / "worst.png", workspace.root, as_json)
        out = capsys.readouterr().out
        if as_json:
            on_epoch_end = json.loads(out)
    assert cv2.imread(str(tmp_path / "worst.png")) is not None
    assert "ROC AUC" in out
    assert "expected calibration error" in out
    assert len(on_epoch_end["probabilities"]) == on_epoch_end["images"] == 24
    assert 0 <= on_epoch_end["classes"][0]["roc_auc"] <= 1
