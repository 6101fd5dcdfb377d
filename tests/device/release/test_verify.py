from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., Any]


def test_verify_is_ok_when_every_byte_is_right(run: Command, release: Path) -> None:
    answer = run("verify", release)
    assert (answer.code, answer.document["ok"], answer.document["problems"]) == (0, True, [])


def test_verify_is_ok_when_given_a_bare_bundle(run: Command, tiny_bundle: Path) -> None:
    assert run("verify", tiny_bundle).document["ok"]


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
    assert (answer.code, answer.document["ok"]) == (1, False)
    assert any(problem.startswith(f"{name}:") for problem in answer.document["problems"])


def test_verify_names_all_that_is_wrong(run: Command, release: Path) -> None:
    flip(release / "model.bin")
    (release / "labels.txt").unlink()
    (release / "stranger").write_text("who am I")
    with (release / "model.xml").open("a") as stream:
        stream.write(" ")
    bad = "\n".join(run("verify", release).document["problems"])
    for document in ("model.bin: its bytes", "labels.txt: is missing", "stranger: is not part", "model.xml: has "):
        assert document in bad


def test_verify_fails_when_release_json_was_changed(run: Command, release: Path) -> None:
    stated = json.loads((release / "release.json").read_bytes())
    stated["files"]["../outside"] = {"sha256": "0" * 64, "size_bytes": 1}
    (release / "release.json").write_text(json.dumps(stated))
    bad = run("verify", release).document["problems"]
    assert "release.json: its digest is not the folder's name" in bad
    assert "../outside: leads out of the release" in bad


def test_verify_fails_when_there_is_nothing(run: Command, tmp_path: Path) -> None:
    answer = run("verify", tmp_path)
    assert answer.code == 1
    assert "manifest.json: cannot be read" in answer.document["problems"][0]


def test_release_runs_by_itself_when_started_in_its_folder(release: Path) -> None:
    for command in ("verify", "golden"):
        argv = [sys.executable, "-B", "-m", "device", command, "."]
        done = subprocess.run(argv, cwd=release, capture_output=True, text=True, check=True)
        assert json.loads(done.stdout)["ok"]


def rewrite(release: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """release.json changed, and the folder renamed to its new digest, as someone without a signing key could do."""
    stated = json.loads((release / "release.json").read_bytes())
    change(stated)
    content = json.dumps(stated).encode()
    (release / "release.json").write_bytes(content)
    return release.rename(release.with_name(hashlib.sha256(content).hexdigest()))


def listed(path: Path) -> dict[str, object]:
    return {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "size_bytes": path.stat().st_size}


def test_verify_fails_if_release_json_overrules_the_manifest(run: Command, release: Path) -> None:
    (release / "model.xml").write_text("<net/>")

    def replace(stated: dict[str, Any]) -> None:
        stated["files"]["model.xml"] = listed(release / "model.xml")

    problems = run("verify", rewrite(release, replace)).document["problems"]
    assert "model.xml: release.json contradicts manifest.json" in problems
    assert any(problem.startswith("model.xml: has 6 bytes") for problem in problems)


def test_verify_fails_if_release_json_drops_a_file(run: Command, release: Path) -> None:
    (release / "labels.txt").unlink()
    problems = run("verify", rewrite(release, lambda stated: stated["files"].pop("labels.txt"))).document["problems"]
    assert "labels.txt: release.json does not name this file of the bundle" in problems
    assert "labels.txt: is missing" in problems


def test_verify_fails_if_release_json_adds_a_file(run: Command, release: Path) -> None:
    (release / "sitecustomize.py").write_text("")

    def add(stated: dict[str, Any]) -> None:
        stated["files"]["sitecustomize.py"] = listed(release / "sitecustomize.py")

    problems = run("verify", rewrite(release, add)).document["problems"]
    assert problems == ["sitecustomize.py: is part of neither the bundle nor the device code"]


def test_verify_names_a_listed_name_that_no_file_can_have(run: Command, release: Path) -> None:
    def add(stated: dict[str, Any]) -> None:
        for name in ("device/a\0b", "device/\ud800"):
            stated["files"][name] = {"sha256": "0" * 64, "size_bytes": 1}

    problems = run("verify", rewrite(release, add)).document["problems"]
    assert problems == ["'device/a\\x00b': is not the name of a file", "'device/\\ud800': is not the name of a file"]


@pytest.mark.parametrize("name", ["device/__pycache__/errors.cpython-311.pyc", "device/bench/run.pyc", ".hidden"])
def test_verify_fails_on_a_file_that_no_listing_names(run: Command, release: Path, name: str) -> None:
    (release / name).parent.mkdir(exist_ok=True)
    (release / name).write_bytes(b"")
    assert run("verify", release).document["problems"] == [f"{name}: is not part of the release"]


def test_verify_fails_on_an_extra_file_in_a_bare_bundle(run: Command, tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = tmp_path / tiny_bundle.name
    shutil.copytree(tiny_bundle, bundle)
    (bundle / "extra").write_bytes(b"")
    assert run("verify", bundle).document["problems"] == ["extra: is not part of the release"]


@pytest.mark.parametrize("name", ["model.bin", "manifest.json", "release.json", "golden"])
def test_verify_fails_on_a_link_even_to_the_same_bytes(run: Command, release: Path, tmp_path: Path, name: str) -> None:
    (release / name).rename(tmp_path / "elsewhere")
    (release / name).symlink_to(tmp_path / "elsewhere")
    assert f"{name}: is a link" in run("verify", release).document["problems"]


def test_verify_fails_on_a_fifo_without_waiting_for_it(run: Command, release: Path) -> None:
    (release / "labels.txt").unlink()
    os.mkfifo(release / "labels.txt")
    problems = run("verify", release).document["problems"]
    assert "labels.txt: is not a regular file" in problems
