"""The worker as the controller uses it: a process that is asked line by line."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture
def worker() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "toolkit.device", "bench-worker"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True) as process:
        yield process


def ask(process: subprocess.Popen[str], *arguments: object) -> dict[str, Any]:
    send(process, *arguments)
    assert process.stdout
    answer: dict[str, Any] = json.loads(process.stdout.readline())
    return answer


def send(process: subprocess.Popen[str], *arguments: object) -> None:
    assert process.stdin
    process.stdin.write(json.dumps([str(each) for each in arguments]) + "\n")
    process.stdin.flush()


def quick(release: Path, images: Path, root: Path, seconds: float = 0.1) -> list[object]:
    options = ["--scenario=offline", f"--seconds={seconds}", "--precision=f32"]
    return [release, f"--images={images}", f"--root={root}", *options]


def test_worker_answers_one_run_after_the_other(
    worker: subprocess.Popen[str], release: Path, images: Path, tmp_path: Path
) -> None:
    request = quick(release, images, tmp_path)
    first, failed, second = ask(worker, *request), ask(worker, tmp_path / "none", *request[1:]), ask(worker, *request)
    assert (first["ok"], failed["ok"], second["ok"]) == (True, False, True)
    assert first["bundle"] == second["bundle"]
    assert second["at"] > first["at"]


def test_worker_starts_a_run_at_once(
    worker: subprocess.Popen[str], release: Path, images: Path, tmp_path: Path
) -> None:
    request = quick(release, images, tmp_path)
    ask(worker, *request)
    overheads = []
    for _ in range(3):
        begin = time.monotonic()
        record = ask(worker, *request)
        work_ms = record["compile_ms"] + record["first_inference_ms"] + sum(record["warm_up_ms"])
        overheads.append(time.monotonic() - begin - record["wall_s"] - work_ms / 1000)
    assert min(overheads) < 1


def test_worker_reports_a_bad_request_and_goes_on(worker: subprocess.Popen[str]) -> None:
    assert ask(worker, "release", "--scenario=server")["ok"] is False
    assert worker.poll() is None


def test_worker_ends_in_the_middle_of_a_run_when_its_input_ends(
    worker: subprocess.Popen[str], release: Path, images: Path, tmp_path: Path
) -> None:
    send(worker, *quick(release, images, tmp_path, seconds=60))
    time.sleep(2)
    assert worker.stdin
    worker.stdin.close()
    assert worker.wait(60) == 0
