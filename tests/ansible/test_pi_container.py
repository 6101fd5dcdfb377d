"""Releases that run in a container image, on a booted arm64 machine with Debian's own engine under systemd: `just test-pi-container`.

The same machine is then provisioned for a Neural Compute Stick 2, which is virtual, with a container image made from a stand-in for
Intel's archive. A stand-in for a release uses the stick as the plugin does; all the rest is what a release gets.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from toolkit.fleet import connect, load_inventory
from toolkit.fleet.container_images import remote
from toolkit.fleet.container_images.local import resolve_images

from ..ncs2_archive import CONTAINER_IMAGE, CONTENT, TOP, build, packed, sha256
from .conftest import Pi, Play, booted, changed, deploy, wait_for_app
from .test_pi_stick import USER, answering, plugged, send, wait

pytestmark = [pytest.mark.pi, pytest.mark.engine, pytest.mark.timeout(5400)]

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
    with booted(variables, sticks=True) as device:
        yield device


RELEASE = "/opt/toolkit/releases/stand-in"
MAIN = "import sys; sys.argv[1:] = ['/var/log/toolkit-runner/stick.json']; import device.stick_user"
DROP_IN = """\
[Unit]
ConditionPathExists=
[Service]
RestartSec=1
ExecStartPre=
ExecStartPre=-/usr/bin/docker rm --force toolkit-runner
ExecStartPre=/usr/bin/install -d -o toolkit -g toolkit /run/toolkit-runner /var/log/toolkit-runner
"""
"""Without what verifies a release."""


@pytest.fixture(scope="module")
def for_stick(contained: Pi, play: Play, tmp_path_factory: pytest.TempPathFactory) -> Pi:
    """The device, provisioned for a stick, whose current release is the stand-in."""
    archive = packed(tmp_path_factory.mktemp("archive") / f"{TOP}.tgz", CONTENT)
    built = build(NCS2_ARCHIVE=str(archive), NCS2_ARCHIVE_SHA256=sha256(archive))
    assert built.returncode == 0, built.stderr[-3000:]
    variables = ("-e", "toolkit_accelerator=MYRIAD", "-e", f"toolkit_container_image={CONTAINER_IMAGE}")
    assert changed(play("-i", contained.inventory, "provision-pi.yml", *variables)) > 0
    assert changed(play("-i", contained.inventory, "provision-pi.yml", *variables)) == 0
    container_image = resolve_images([CONTAINER_IMAGE])[CONTAINER_IMAGE]
    (device,) = load_inventory(contained.inventory)
    with connect(device) as shell:
        assert remote.ensure_image(device, shell, container_image, "aarch64") > 0
    contained.sh(f"mkdir -p {RELEASE}/device && printf '%s' {container_image.reference} >{RELEASE}/container-image")
    send(contained, USER, f"{RELEASE}/device/stick_user.py")
    contained.sh(f'printf %s "{MAIN}" >{RELEASE}/device/__main__.py && chmod -R a+rX {RELEASE}')
    contained.sh(f"ln -sfn {RELEASE} /opt/toolkit/current && mkdir -p /run/systemd/system/toolkit-runner.service.d")
    contained.sh(f"printf %s '{DROP_IN}' >/run/systemd/system/toolkit-runner.service.d/stick.conf")
    contained.sh("systemctl daemon-reload && systemctl restart toolkit-runner.service")
    return contained


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


def test_stick_answers_in_the_container_of_an_unprivileged_user(for_stick: Pi) -> None:
    answering(for_stick)
    assert for_stick.stick.state().firmware_bytes == 2_000_000
    assert plugged(for_stick)[0] == "f63b"
    owner = for_stick.sh("ps -o user= -p $(docker inspect --format '{{.State.Pid}}' toolkit-runner)").strip()
    assert owner == "toolkit"
    node = plugged(for_stick)[1]
    assert for_stick.host.run("sudo -u stranger sh -c %s", f": <>{node}").rc != 0


def test_container_of_a_stick_recovers_when_it_is_replugged(for_stick: Pi) -> None:
    first = answering(for_stick)
    for_stick.stick.unplug()
    wait(for_stick, lambda: plugged(for_stick) == ("", ""))
    time.sleep(3)  # it fails and is started again, while there is no stick
    for_stick.stick.plug_in()
    second = answering(for_stick, after=first)
    assert second["answers"] > first["answers"]
