from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., Any]

QUICK = ("--seconds", "0.3", "--queries", "64")


@pytest.mark.slow
@pytest.mark.parametrize("clock", ["total", "inference"])
def test_bench_gives_a_whole_record_when_single_stream(run: Command, release: Path, images: Path, clock: str) -> None:
    answer = run("bench", release, "--scenario", "single-stream", "--images", images, "--clock", clock, *QUICK)
    document = answer.document
    assert answer.code == 0
    assert len(document["samples_ms"]) >= 64
    assert sum(document["samples_ms"]) <= 1000 * document["wall_s"]
    assert document["wall_s"] >= 0.3
    assert (document["settings"]["clock"], document["used"]["accelerator"]) == (clock, "CPU")
    assert document["used"]["precision"] in {"f32", "bf16", "f16"}
    assert document["compile_ms"] > 0
    assert document["first_inference_ms"] > 0
    assert len(document["warm_up_ms"]) >= 8
    assert set(document["environment"]) == {"before", "after"}
    assert document["device_code"]
    assert document["accuracy"] is None


@pytest.mark.slow
def test_bench_logs_answers_that_equal_the_accuracy_passes(run: Command, release: Path, images: Path) -> None:
    by_scenario = {
        name: run("bench", release, "--scenario", name, "--images", images, "--precision", "f32", *QUICK).document
        for name in ("accuracy", "single-stream", "offline")
    }
    expected = {entry["image"]: entry["output"] for entry in by_scenario["accuracy"]["logged"]}
    assert by_scenario["accuracy"]["correct"] == by_scenario["accuracy"]["images"]["count"] == 12
    for name in ("single-stream", "offline"):
        logged = by_scenario[name]["logged"]
        assert [entry["query"] for entry in logged[:3]] == [0, 8, 16]
        for entry in logged:
            assert entry["output"] == pytest.approx(expected[entry["image"]], abs=1e-5)


@pytest.mark.slow
def test_bench_keeps_completion_times_when_offline(run: Command, release: Path, images: Path) -> None:
    argv = ("--threads", "2", "--streams", "2", "--precision", "f32")
    document = run("bench", release, "--scenario", "offline", "--images", images, *argv, *QUICK).document
    assert document["samples_ms"] == sorted(document["samples_ms"])
    assert document["samples_ms"][-1] <= 1000 * document["wall_s"]
    assert (document["used"]["streams"], document["used"]["threads"], document["used"]["precision"]) == (2, 2, "f32")
    assert document["used"]["in_flight"] == 2


@pytest.mark.slow
def test_bench_draws_the_same_images_when_the_seed_is_the_same(run: Command, release: Path, images: Path) -> None:
    argv = ("bench", release, "--scenario", "single-stream", "--images", images, *QUICK)
    drawn = [[entry["image"] for entry in run(*argv, "--seed", seed).document["logged"][:8]] for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.fixture
def running(start: Command, release: Path, images: Path) -> Callable[..., subprocess.Popen[str]]:
    """A bench that has begun: it holds the lock."""

    def call(*argv: str, **more: object) -> subprocess.Popen[str]:
        common = ("bench", release, "--scenario", "offline", "--images", images, "--seconds", "60")
        process = start(*common, *argv, **more)
        lock = release.parents[1] / "bench.lock"
        for _ in range(1000):
            if lock.exists() and lock.stat().st_size:
                break
            time.sleep(0.01)
        time.sleep(0.5)
        return process

    return call


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_bench_ends_with_130_and_no_record_when_interrupted(running: Command, number: signal.Signals) -> None:
    with running() as process:
        process.send_signal(number)
        output, talk = process.communicate(timeout=60)
    assert (process.returncode, output) == (130, "")
    assert "interrupted" in talk


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_bench_ends_with_130_when_interrupted_in_an_import(
    start: Command, release: Path, images: Path, tmp_path: Path, number: signal.Signals
) -> None:
    package = tmp_path / "openvino.py"
    package.write_text(
        "import pathlib, time\npathlib.Path(__file__ + '.begun').touch()\ntry:\n    time.sleep(1)\n"
        "except KeyboardInterrupt:\n    raise ImportError('initialization failed') from None\n"
        "class Core:\n    def __init__(self):\n        time.sleep(60)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    with start("bench", release, "--scenario", "accuracy", "--images", images, env=environment) as process:
        for _ in range(1000):
            if Path(f"{package}.begun").exists():
                break
            time.sleep(0.01)
        process.send_signal(number)
        output, messages = process.communicate(timeout=60)
    assert (process.returncode, output, messages) == (130, "", "interrupted\n")


def test_bench_stops_when_its_controller_is_gone(running: Command) -> None:
    with running("--stop-on-eof", stdin=subprocess.PIPE) as process:
        process.stdin.close()
        process.stdin = None
        output, _ = process.communicate(timeout=60)
    assert (process.returncode, output) == (130, "")


def test_bench_says_who_when_another_is_running(running: Command, run: Command, release: Path, images: Path) -> None:
    with running() as process:
        answer = run("bench", release, "--scenario", "accuracy", "--images", images)
        process.send_signal(signal.SIGINT)
    assert answer.code == 1
    assert f"process {process.pid}, since 20" in answer.document["error"]["what"]


@pytest.mark.slow
def test_bench_runs_when_the_last_holder_of_the_lock_was_killed(
    running: Command, run: Command, release: Path, images: Path
) -> None:
    with running() as process:
        process.kill()
    assert run("bench", release, "--scenario", "accuracy", "--images", images).code == 0


@pytest.mark.slow
def test_bench_names_an_image_that_was_changed(run: Command, release: Path, images: Path, tmp_path: Path) -> None:
    listing = json.loads((images / "images.json").read_text())
    listing["images"][3] |= {"file": str(images / "000004.png")}
    for entry in listing["images"]:
        entry["file"] = str(images / entry["file"])
    (tmp_path / "images.json").write_text(json.dumps(listing))
    answer = run("bench", release, "--scenario", "accuracy", "--images", tmp_path)
    assert answer.code == 1
    assert answer.document["error"]["where"].endswith("000004.png")


@pytest.mark.parametrize(
    ("entry", "document"),
    [
        ([], "names no image"),
        ([{"file": "a.png", "sha256": "", "label": "unheard-of"}], 'no label "unheard-of"'),
    ],
)
def test_bench_says_so_when_images_cannot_be_used(
    run: Command, release: Path, tmp_path: Path, entry: list, document: str
) -> None:
    (tmp_path / "images.json").write_text(json.dumps({"format": 1, "images": entry}))
    answer = run("bench", release, "--scenario", "accuracy", "--images", tmp_path)
    assert (answer.code, document in answer.document["error"]["what"]) == (1, True)


def test_bench_ends_with_4_when_the_lock_cannot_be_written(run: Command, release: Path, images: Path) -> None:
    answer = run("bench", release, "--scenario", "accuracy", "--images", images, "--root", os.devnull)
    assert answer.code == 4
    assert "bench.lock" in answer.document["error"]["where"]
