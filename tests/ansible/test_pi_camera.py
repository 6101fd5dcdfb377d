"""The kernel's virtual camera (vivid) as /dev/video0 of the live app's service, on the booted arm64 machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import Pi, app_state, deploy, wait_for_app

pytestmark = [pytest.mark.pi, pytest.mark.timeout(1200)]

UNBIND, BIND = (f"printf vivid.0 >/sys/bus/platform/drivers/vivid/{word}" for word in ("unbind", "bind"))


@pytest.fixture(scope="module")
def watching(provisioned: Pi, tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pi]:
    """A device with a release and a camera; `node_types` limits vivid to a capture device."""
    deploy(provisioned, tiny_bundle, tmp_path_factory.mktemp("camera"))
    provisioned.sh(
        "modprobe vivid n_devs=1 node_types=0x1 && udevadm settle && systemctl restart toolkit-runner.service"
    )
    yield provisioned
    provisioned.sh(
        "systemctl stop toolkit-runner.service; modprobe --remove vivid; systemctl start toolkit-runner.service"
    )


def test_service_answers_what_its_camera_sees(watching: Pi) -> None:
    state = wait_for_app(watching, lambda state: bool(state.get("camera")) and state["frames"]["answered"] > 20)
    assert state["source"] == "/dev/video0"
    assert state["frames"]["failed"] == 0
    assert {ranked["label"] for ranked in state["latest"]["ranking"]} == {"dark", "light"}


def test_service_reports_a_lost_camera_and_resumes(watching: Pi) -> None:
    wait_for_app(watching, lambda state: bool(state.get("camera")))
    watching.sh(UNBIND)
    assert wait_for_app(watching, lambda state: state.get("camera") is False)["frames"]["answered"] > 0
    assert watching.sh("systemctl is-active toolkit-runner.service").strip() == "active"
    watching.sh(BIND)
    before = app_state(watching)["frames"]["answered"]
    wait_for_app(watching, lambda state: bool(state.get("camera")) and state["frames"]["answered"] > before)
