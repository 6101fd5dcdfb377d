"""The whole line as a user runs it: real pictures, real training, real SSH, a real report; and then once more."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

EXPERIMENT = """
name = "shapes"
title = "Discs and bars"
[data]
source = "folders"
path = "pictures"
split = { train = 0.5, validation = 0.25, test = 0.25 }
[matrix]
networks = ["mobilenet"]
heads = ["sigmoid"]
[train]
hidden = [8]
batch_size = 8
[[stages]]
name = "top"
epochs = 1
[[stages]]
name = "fine-tune"
epochs = 1
[networks.mobilenet]
weights = "none"
input_size = 32
[convert]
precisions = ["fp32", "fp16"]
[bench]
seconds = 0.1
queries = 8
"""


def draw(folder: Path, label: str, count: int) -> None:
    """Pictures with one light shape each; no two alike."""
    rng = np.random.default_rng(len(label))
    (folder / label).mkdir(parents=True)
    for number in range(count):
        picture = rng.integers(0, 90, (48, 48, 3), np.uint8)
        x, y = (int(value) for value in rng.integers(14, 34, 2))
        if label == "disc":
            cv2.circle(picture, (x, y), 10, (240, 240, 240), -1)
        else:
            cv2.rectangle(picture, (x - 3, y - 14), (x + 3, y + 14), (240, 240, 240), -1)
        assert cv2.imwrite(str(folder / label / f"{number}.png"), picture)


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    for label in ("bar", "disc"):
        draw(tmp_path / "pictures", label, 16)
    path = tmp_path / "shapes.toml"
    path.write_text(EXPERIMENT)
    return path


def run(experiment: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "toolkit", "run", str(experiment), "--workspace", str(experiment.parent / "work")]
    return subprocess.run([*command, *words], capture_output=True, text=True, check=False)


@pytest.mark.timeout(600)
def test_run_measures_a_fleet_and_a_second_run_finds_it_all_done(experiment: Path) -> None:
    first = run(experiment)
    assert first.returncode == 0, first.stderr
    page = experiment.parent / "work" / "reports" / "shapes" / "index.html"
    assert str(page) in first.stdout
    assert "<svg" in page.read_text(encoding="utf-8")
    before = page.read_bytes()

    second = run(experiment)
    assert second.returncode == 0, second.stderr
    for said in (
        "nothing changed",
        "trained already, skipped",
        "already done",
        "unchanged, 0 bytes sent",
        "skipped: 36",
    ):
        assert said in second.stderr
    assert page.read_bytes() == before

    third = run(experiment, "--json", "--limit", "embedded-2")
    assert third.returncode == 0, third.stderr
    result = json.loads(third.stdout)
    assert {record["device"] for record in result["records"]} == {"embedded-2"}
    assert len(result["bundles"]) == 4
    assert result["failed"] == []
    lineage = [result["records"][0]["parent"], *(bundle["digest"] for bundle in result["bundles"])]
    assert lineage[0] in lineage[1:]
