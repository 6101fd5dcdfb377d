from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., Any]


def test_verify_is_ok_when_every_byte_is_right(run: Command, release: Path) -> None:
    answer = run("verify", release)
    assert (answer.code, answer.said["ok"], answer.said["problems"]) == (0, True, [])


def test_verify_is_ok_when_given_a_bare_bundle(run: Command, tiny_bundle: Path) -> None:
    assert run("verify", tiny_bundle).said["ok"]


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "name", ["model.bin", "model.xml", "golden/outputs.npy", "device/bench/run.py", "manifest.json"]
)
def test_verify_names_the_file_when_one_bit_is_flipped(run: Command, release: Path, name: str) -> None:
    flip(release / name)
    answer = run("verify", release)
    assert (answer.code, answer.said["ok"]) == (1, False)
    assert any(problem.startswith(f"{name}:") for problem in answer.said["problems"])


def test_verify_names_all_that_is_wrong(run: Command, release: Path) -> None:
    flip(release / "model.bin")
    (release / "labels.txt").unlink()
    (release / "stranger").write_text("who am I")
    with (release / "model.xml").open("a") as stream:
        stream.write(" ")
    bad = "\n".join(run("verify", release).said["problems"])
    for said in ("model.bin: its bytes", "labels.txt: is missing", "stranger: is not part", "model.xml: has "):
        assert said in bad


def test_verify_fails_when_release_json_was_changed(run: Command, release: Path) -> None:
    stated = json.loads((release / "release.json").read_bytes())
    stated["files"]["../outside"] = {"sha256": "0" * 64, "size_bytes": 1}
    (release / "release.json").write_text(json.dumps(stated))
    bad = run("verify", release).said["problems"]
    assert "release.json: its digest is not the folder's name" in bad
    assert "../outside: leads out of the release" in bad


def test_verify_fails_when_there_is_nothing(run: Command, tmp_path: Path) -> None:
    answer = run("verify", tmp_path)
    assert answer.code == 1
    assert "manifest.json: cannot be read" in answer.said["problems"][0]


def test_release_runs_by_itself_when_started_in_its_folder(release: Path) -> None:
    for command in ("verify", "golden"):
        words = [sys.executable, "-B", "-m", "device", command, "."]
        done = subprocess.run(words, cwd=release, capture_output=True, text=True, check=True)
        assert json.loads(done.stdout)["ok"]
