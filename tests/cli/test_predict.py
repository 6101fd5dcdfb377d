"""`toolkit predict` takes the bundle argument of every other verb and prints the most probable classes."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.invoke import run
from toolkit.cli import predict


@pytest.mark.parametrize("name", ["", "model.xml"])
def test_predict_takes_a_bundle_or_its_model(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    cv2.imwrite(str(tmp_path / "x.png"), np.full((40, 40, 3), 250, np.uint8))
    argv = ["predict", str(tiny_bundle / name), str(tmp_path / "x.png"), "--top", "1", "--workspace", str(tmp_path)]
    assert run(*argv) == 0
    printed = capsys.readouterr().out
    assert "light" in printed
    assert "dark" not in printed


def test_predict_takes_folders_of_images(tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "images" / "more").mkdir(parents=True)
    for name in ("b.png", "more/a.png"):
        cv2.imwrite(str(tmp_path / "images" / name), np.full((40, 40, 3), 250, np.uint8))
    (tmp_path / "images" / "notes.txt").write_text("about")
    argv = ["predict", str(tiny_bundle), str(tmp_path / "images"), "--workspace", str(tmp_path), "--json"]
    assert run(*argv) == 0
    answers = json.loads(capsys.readouterr().out)["predictions"]
    assert [Path(one["image"]).name for one in answers] == ["b.png", "a.png"]


def test_predict_asks_for_many_images_in_parts(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predict, "_IMAGES_A_PROCESS", 2)
    (tmp_path / "images").mkdir()
    for number in range(5):
        cv2.imwrite(str(tmp_path / "images" / f"{number}.png"), np.full((40, 40, 3), 250, np.uint8))
    (tmp_path / "images" / "3.png").write_bytes(b"damaged")
    argv = ["predict", str(tiny_bundle), str(tmp_path / "images"), "--workspace", str(tmp_path), "--json"]
    assert run(*argv) == 1
    answer = json.loads(capsys.readouterr().out)
    assert [Path(one["image"]).stem for one in answer["predictions"]] == ["0", "1", "2", "3", "4"]
    assert ["error" in one for one in answer["predictions"]] == [False, False, False, True, False]
    assert answer["ok"] is False


def test_predict_refuses_a_folder_without_images(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert run("predict", str(tiny_bundle), str(tmp_path / "empty"), "--workspace", str(tmp_path)) == 2
    assert f"{tmp_path / 'empty'}: has no images" in capsys.readouterr().err


def test_predict_refuses_an_unknown_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("predict", "no-such-bundle", "x.png", "--workspace", str(tmp_path)) == 2
    assert "no-such-bundle" in capsys.readouterr().err


def test_rows_hold_the_five_most_probable_classes() -> None:
    ranking = [{"label": f"c{number}", "probability": 1 / (number + 2)} for number in range(1000)]
    assert [row[1] for row in predict._rows({"image": "x", "ranking": ranking}, 5)] == ["c0", "c1", "c2", "c3", "c4"]
