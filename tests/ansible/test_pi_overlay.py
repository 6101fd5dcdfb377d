"""A root that survives power cuts on a booted Debian 13: an overlay in memory, the data on a second drive: `just test-pi`.

The kernel of a virtual device is no package, so the device makes the initial RAM disk of its overlay here, and QEMU starts with it.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from toolkit.progress import Lines
from toolkit.virtual.disk_image import SUITE, get_disk
from toolkit.virtual.machine import MachineSize, accelerator, launch, qemu_arguments, send_command, stop, wait_for_ssh
from toolkit.virtual.tools import get_tools

from .conftest import Pi, Play, booted, changed
from .test_pi import APT_REPOSITORY

pytestmark = [pytest.mark.pi, pytest.mark.timeout(5400)]

RAM_DISK = "MODULES=dep update-initramfs -c -k $(uname -r) >&2 && base64 --wrap=0 /boot/initrd.img-$(uname -r)"
REMEMBERED, FORGOTTEN = "/opt/toolkit/store/remembered", "/etc/forgotten"


def start(pi: Pi, ram_disk: Path | None = None) -> None:
    """Boot with the second drive, and with an initial RAM disk of the device's own."""
    tools = get_tools(Lines())
    machine, drive = pi.machine, pi.machine.folder / "data.qcow2"
    if not drive.exists():
        tools.run("qemu-img", "create", "-q", "-f", "qcow2", drive, "1G")
    command = qemu_arguments(machine, get_disk(tools, Lines(), SUITE), MachineSize(), accelerator())
    command += [
        "-drive",
        f"file={drive},if=none,id=data,format=qcow2",
        "-device",
        "virtio-blk-pci,drive=data,serial=data",
    ]
    if ram_disk is not None:
        command[command.index("-initrd") + 1] = str(ram_disk)
        command[command.index("-append") + 1] += " root=LABEL=root rw"
    launch(machine, tools, command)
    wait_for_ssh(machine)


def root_source(pi: Pi) -> str:
    """What the root is on."""
    return pi.sh("findmnt --noheadings --output SOURCE /").strip()


@pytest.fixture(scope="module")
def protected(play: Play) -> Iterator[Pi]:
    """A provisioned device that started with the overlay; a package of its own waits for an update."""
    with booted({"toolkit_overlay_root": True}) as pi:
        stop(pi.machine)
        start(pi)
        pi.sh("mkfs.ext4 -q -L toolkit-data /dev/disk/by-id/virtio-data")
        pi.sh(APT_REPOSITORY)
        done = play("-i", pi.inventory, "provision-pi.yml", "--tags", "data_partition,base,runner,overlay_root")
        assert "restarted without the overlay" in " ".join(done.stdout.split()), done.stdout + done.stderr
        ram_disk = pi.machine.folder / "ram-disk"
        ram_disk.write_bytes(base64.b64decode(pi.sh(RAM_DISK)))
        stop(pi.machine)
        start(pi, ram_disk)
        yield pi


def test_overlay_is_on_and_nothing_failed(protected: Pi) -> None:
    assert root_source(protected) == "overlayroot"
    for folder in ("/opt/toolkit", "/var/lib/toolkit-agent", "/var/lib/systemd/timesync"):
        protected.sh(f"mountpoint {folder} && test {folder} -ef /srv/toolkit-data{folder}")
    assert protected.sh("systemctl --failed --no-legend") == ""


def test_power_cut_forgets_what_is_outside_of_the_data(protected: Pi) -> None:
    protected.sh(f"touch {FORGOTTEN} {REMEMBERED} && sync")
    send_command(protected.machine, "quit")
    start(protected, protected.machine.folder / "ram-disk")
    protected.sh(f"test -e {REMEMBERED} && test ! -e {FORGOTTEN}")
    assert root_source(protected) == "overlayroot"
    assert protected.sh("systemctl --failed --no-legend") == ""


def test_provisioning_refuses_a_root_in_memory(play: Play, protected: Pi) -> None:
    done = play("-i", protected.inventory, "provision-pi.yml", "--tags", "base")
    assert done.returncode == 2
    assert "The root of this device is an overlay in memory" in " ".join(done.stdout.split())


def test_update_refuses_what_a_restart_would_undo(play: Play, protected: Pi) -> None:
    done = play("-i", protected.inventory, "update.yml")
    assert done.returncode == 2
    assert "an overlay in memory, so the next restart would undo the update" in " ".join(done.stdout.split())


def test_update_goes_below_the_overlay_and_lasts(play: Play, protected: Pi) -> None:
    assert changed(play("-i", protected.inventory, "update.yml", "-e", "update_reboot=true")) > 0
    assert root_source(protected) == "overlayroot"
    send_command(protected.machine, "quit")
    start(protected, protected.machine.folder / "ram-disk")
    assert root_source(protected) == "overlayroot"
    assert protected.sh("dpkg-query --show --showformat='${Version}' kitchen-clock") == "2"
    assert protected.sh("systemctl --failed --no-legend") == ""
