"""Images at work: amd64 as it is, arm64 under emulation."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.arm_emulator import CORES

from .test_versions import locked

pytestmark = pytest.mark.engine

PLATFORMS = ["linux/amd64", "linux/arm64"]
IMAGE = "edge-vision/runner:dev"

Run = Callable[..., Any]


def mounted(**folders: Path) -> tuple[str, ...]:
    return tuple(word for name, folder in folders.items() for word in ("--volume", f"{folder}:/{name}:ro"))


@pytest.mark.parametrize("platform", PLATFORMS)
def test_probe_finds_the_runtime_of_its_own_platform(docker_run: Run, platform: str) -> None:
    done = docker_run(IMAGE, "probe", platform=platform)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["machine"] == {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}[platform]
    assert facts["accelerators"] == ["CPU"]
    assert facts["litert"] == locked("image-runner.txt", "ai-edge-litert")
    assert facts["writable"] is False


@pytest.mark.parametrize("platform", PLATFORMS)
def test_golden_answers_are_repeated(docker_run: Run, open_bundle: Path, platform: str) -> None:
    done = docker_run(IMAGE, "golden", "/bundle", platform=platform, options=mounted(bundle=open_bundle))
    assert done.returncode == 0, done.stdout + done.stderr
    answer = json.loads(done.stdout)
    assert answer["ok"]
    assert answer["top1_agreement"] == 1
    assert answer["count"] == 8


@pytest.mark.parametrize("platform", PLATFORMS)
def test_litert_repeats_the_answers_of_openvino(
    docker_run: Run, open_litert_bundle: Path, tmp_path: Path, platform: str
) -> None:
    options = mounted(bundle=open_litert_bundle)
    if platform != PLATFORMS[0]:
        # The emulation shows this machine's processors, by which XNNPACK does not find its way on arm64.
        (tmp_path / "cpuinfo").write_text(CORES["cortex-a72"].cpuinfo)
        options += ("--volume", f"{tmp_path / 'cpuinfo'}:/proc/cpuinfo:ro")
    done = docker_run(IMAGE, "golden", "/bundle", platform=platform, options=options)
    assert done.returncode == 0, done.stdout + done.stderr
    answer = json.loads(done.stdout)
    assert (answer["ok"], answer["count"], answer["precision"]) == (True, 8, "f32")


@pytest.fixture(scope="module")
def predictions() -> dict[str, Any]:
    return {}


@pytest.mark.parametrize("platform", PLATFORMS)
def test_bench_runs_and_predicts_as_on_amd64(
    docker_run: Run, open_bundle: Path, open_images: Path, platform: str, predictions: dict[str, Any]
) -> None:
    argv = ("bench", "/bundle", "--images", "/images", "--root", "/tmp", "--scenario", "accuracy")
    options = mounted(bundle=open_bundle, images=open_images)
    done = docker_run(IMAGE, *argv, "--precision", "f32", platform=platform, options=options)
    assert done.returncode == 0, done.stdout + done.stderr
    predictions[platform] = json.loads(done.stdout)["predictions"]
    assert len(predictions[platform]) == 6
    assert _close(predictions[platform], predictions[PLATFORMS[0]])


def _close(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, dict):
        return ours.keys() == theirs.keys() and all(_close(ours[key], theirs[key]) for key in ours)
    if isinstance(ours, list):
        return len(ours) == len(theirs) and all(_close(one, other) for one, other in zip(ours, theirs, strict=True))
    return bool(ours == pytest.approx(theirs, abs=1e-4)) if isinstance(ours, float) else bool(ours == theirs)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_quick_bench_keeps_every_sample(docker_run: Run, open_bundle: Path, open_images: Path, platform: str) -> None:
    argv = ("bench", "/bundle", "--images", "/images", "--root", "/tmp", "--scenario", "single-stream")
    options = mounted(bundle=open_bundle, images=open_images)
    done = docker_run(IMAGE, *argv, "--seconds", "0.5", "--queries", "8", platform=platform, options=options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(json.loads(done.stdout)["samples_ms"]) >= 8


def test_app_serves_by_the_code_of_the_image(open_bundle: Path) -> None:
    argv = ["docker", "run", "--rm", "--detach", "--read-only", "--tmpfs", "/tmp", *mounted(bundle=open_bundle), IMAGE]
    started = subprocess.run(
        [*argv, "serve", "/bundle", "--source", "none"], capture_output=True, text=True, check=True
    )
    health = ["python3", "-m", "device", "health", "/bundle", "--url", "http://127.0.0.1:8080/health", "--seconds", "1"]
    container = started.stdout.strip()
    try:
        asked = subprocess.run(["docker", "exec", container, *health], capture_output=True, text=True, check=False)
        logs = subprocess.run(["docker", "logs", container], capture_output=True, text=True, check=False)
        assert asked.returncode == 0, (asked.stdout, asked.stderr, logs.stdout, logs.stderr)
    finally:
        subprocess.run(["docker", "rm", "--force", container], capture_output=True, check=False)


def test_stop_ends_a_run_at_once(docker_run: Run, open_bundle: Path, open_images: Path) -> None:
    argv = ["docker", "run", "--rm", "--detach", "--read-only", "--tmpfs", "/tmp"]
    argv += [
        *mounted(bundle=open_bundle, images=open_images),
        IMAGE,
        "bench",
        "/bundle",
        "--images",
        "/images",
    ]
    argv += ["--root", "/tmp", "--scenario", "offline", "--seconds", "60"]
    container = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
    time.sleep(3)
    began = time.monotonic()
    subprocess.run(["docker", "stop", "--time", "20", container], capture_output=True, check=True)
    assert time.monotonic() - began < 10
