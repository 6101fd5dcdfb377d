"""The runtimes of 2021 and 2022: a lowered model on their CPU, and an honest word where there is no stick."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.engine

IMAGES = {"runner-ncs2:dev": "2021.4.2", "legacy:dev-2021": "2021.4.2", "legacy:dev-2022": "2022.3.2"}
Run = Callable[..., Any]


@pytest.mark.parametrize("name", IMAGES)
def test_old_runtime_repeats_the_golden_answers(docker_run: Run, open_bundle: Path, name: str) -> None:
    done = docker_run(f"edge-vision/{name}", "golden", "/bundle", options=("--volume", f"{open_bundle}:/bundle:ro"))
    assert done.returncode == 0, done.stdout + done.stderr
    answer = json.loads(done.stdout)
    assert answer["ok"]
    assert answer["top1_agreement"] == 1


@pytest.mark.parametrize("name", IMAGES)
def test_old_runtime_is_the_declared_one(docker_run: Run, name: str) -> None:
    facts = json.loads(docker_run(f"edge-vision/{name}", "probe").stdout)
    assert facts["openvino"].startswith(IMAGES[name])
    assert facts["python"].startswith("3.9.")


def test_ncs2_image_says_what_to_do_when_there_is_no_stick(
    docker_run: Run, open_bundle: Path, open_images: Path
) -> None:
    passed = ("--device-cgroup-rule", "c 189:* rmw", "--group-add", "100", "--volume", f"{open_bundle}:/bundle:ro")
    argv = ("predict", "/bundle", "/images/0.png", "--accelerator", "MYRIAD")
    options = (*passed, "--volume", f"{open_images}:/images:ro")
    done = docker_run("edge-vision/runner-ncs2:dev", *argv, options=options)
    assert done.returncode == 4, done.stdout + done.stderr
    assert "no Neural Compute Stick is plugged in" in done.stderr
    assert "plug it in; a container needs /dev/bus/usb passed to it" in done.stderr
    assert "Traceback" not in done.stderr
    assert json.loads(done.stdout)["error"]["remedy"]
