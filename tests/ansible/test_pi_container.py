"""Releases that run in a container image, on a booted arm64 machine with Debian's own engine under systemd: `just test-pi-container`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import Pi, Play, booted, changed, deploy, wait_for_app

pytestmark = [pytest.mark.pi, pytest.mark.engine, pytest.mark.timeout(2400)]

RUNNER = "edge-vision/runner:dev"
"""Built by `just build runner-cross`."""


@pytest.fixture(scope="module")
def contained() -> Iterator[Pi]:
    """A bare device whose releases run in a container image."""
    variables = {
        "toolkit_container_image": RUNNER,
        "runner_source": "pattern",
        "base_packages": ["python3"],
        "base_security_updates": False,
        "camera_enabled": False,
    }
    with booted(variables) as device:
        yield device


def well(pi: Pi) -> str:
    """The release that the live app reports, once it answers."""
    return str(wait_for_app(pi, lambda state: bool(state) and state["frames"]["answered"] >= 3, 300)["release"])


def test_playbook_provisions_containers_and_is_idempotent(play: Play, contained: Pi) -> None:
    assert changed(play("-i", contained.inventory, "provision-pi.yml")) > 0
    assert changed(play("-i", contained.inventory, "provision-pi.yml")) == 0
    assert contained.host.service("docker").is_running
    assert not contained.host.file("/opt/toolkit/venv").exists
    assert contained.sh("findmnt --noheadings --output FSTYPE /tmp").strip() == "tmpfs"


def test_release_is_deployed_with_its_image_through_every_gate(
    contained: Pi, tiny_bundle: Path, tmp_path: Path
) -> None:
    deploy(contained, tiny_bundle, tmp_path)
    container_image = contained.sh("cat /opt/toolkit/current/container-image").strip()
    assert contained.sh(f"docker image inspect --format '{{{{.Architecture}}}}' {container_image}").strip() == "arm64"


def test_service_restarts_the_container_after_a_kill(contained: Pi) -> None:
    release = contained.sh("readlink -f /opt/toolkit/current").strip().rpartition("/")[2]
    assert well(contained) == release
    first = contained.sh("docker ps --quiet --filter name=toolkit-runner").strip()
    contained.sh("docker kill toolkit-runner")
    deadline = time.monotonic() + 120
    while contained.sh("docker ps --quiet --filter name=toolkit-runner").strip() in {"", first}:
        assert time.monotonic() < deadline
        time.sleep(1)
    assert well(contained) == release
    assert contained.sh("systemctl is-active toolkit-runner.service").strip() == "active"


def test_service_stops_at_once_and_leaves_no_container(contained: Pi) -> None:
    contained.sh("systemctl stop toolkit-runner.service")
    assert contained.sh("docker ps --all --quiet") == ""
    assert contained.sh("systemctl is-failed toolkit-runner.service || true").strip() == "inactive"
