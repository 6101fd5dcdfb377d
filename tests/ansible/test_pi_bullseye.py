"""A device for a Neural Compute Stick 2: Debian 11 on arm64, with the runtime from a stand-in for Intel's archive.

The stand-in is served from loopback under the path of the real archive, which is not publicly available.
"""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator

import pytest

from toolkit.virtual.disk_image import LEGACY_SUITE

from ..ncs2_archive import CONTENT, TOP, packed, sha256
from .conftest import Pi, Play, booted, changed, wheelhouse_of

pytestmark = [pytest.mark.pi, pytest.mark.timeout(1800)]

LAYOUT = "repositories/openvino/packages/2022.3.2/linux"
HOST = "10.0.2.2"
"""Address of this machine's loopback on a virtual device."""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """URL of the stand-in on a virtual device, and its SHA-256."""
    root = tmp_path_factory.mktemp("intel")
    (root / LAYOUT).mkdir(parents=True)
    path = packed(root / LAYOUT / f"{TOP}.tgz", CONTENT)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://{HOST}:{server.server_port}/{LAYOUT}/{path.name}"
        yield address, sha256(path)
        server.shutdown()


@pytest.fixture(scope="module")
def old_pi(archive: tuple[str, str]) -> Iterator[Pi]:
    """A bare Debian 11."""
    variables = {
        "toolkit_accelerator": "MYRIAD",
        "openvino_wheelhouse": str(wheelhouse_of("aarch64", "device-archive", "3.9", 31)),
        "openvino_archive": archive[0],
        "openvino_archive_sha256": "0" * 64,
        "base_packages": ["python3-venv"],
        "base_security_updates": False,
        "camera_enabled": False,
    }
    with booted(variables, suite=LEGACY_SUITE, sticks=True) as device:
        yield device


def test_archive_with_another_sum_is_not_unpacked(play: Play, old_pi: Pi) -> None:
    done = play("-i", old_pi.inventory, "provision-pi.yml")
    assert done.returncode == 2
    assert "0" * 64 in done.stdout
    assert old_pi.sh("find /opt/intel -name '*.so*' -o -name '*.tgz'") == ""


def test_device_for_a_stick_is_provisioned_from_the_archive(play: Play, old_pi: Pi, archive: tuple[str, str]) -> None:
    arguments = ("-i", old_pi.inventory, "provision-pi.yml", "-e", f"openvino_archive_sha256={archive[1]}")
    assert changed(play(*arguments)) > 0
    output = old_pi.sh('/opt/toolkit/venv/bin/python -c "import cv2, numpy, openvino; print(openvino.STAND_IN)"')
    assert output.strip() == "True"
    assert old_pi.host.file("/opt/intel/openvino/.sha256").content_string.strip() == archive[1]
    assert not old_pi.host.file("/opt/intel/openvino/archive.tgz").exists
    libraries = old_pi.sh("cat /etc/ld.so.conf.d/openvino-archive.conf").strip()
    assert old_pi.host.file(f"{libraries}/usb-ma2x8x.mvcmd").exists
    assert changed(play(*arguments)) == 0


def test_stick_may_be_opened_by_the_runner_only(old_pi: Pi) -> None:
    node = old_pi.sh(
        "printf /dev/bus/usb/%03d/%03d $(cat /sys/bus/usb/devices/1-1/busnum /sys/bus/usb/devices/1-1/devnum)"
    )
    allowed = {
        user: old_pi.host.run("sudo -u %s sh -c %s", user, f": <>{node}").rc == 0 for user in ("toolkit", "stranger")
    }
    assert allowed == {"toolkit": True, "stranger": False}
