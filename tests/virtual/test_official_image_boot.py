"""A preset official image as the disk of an emulated machine that runs cloud-init: `just test-pi`.

The image is a stand-in with the layout and the settings of Raspberry Pi OS based on Debian 13: cloud-init and netplan.io from
Debian, its files on a FAT partition `bootfs`, no SSH server until it is asked for, and a unit that replaces host keys.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from toolkit.fleet.ssh.keys import make_key, public_key
from toolkit.progress import Lines
from toolkit.virtual.disk_image import Disk, get_disk
from toolkit.virtual.machine import (
    Machine,
    MachineSize,
    accelerator,
    free_ports,
    launch,
    qemu_arguments,
    stop,
    wait_for_ssh,
)
from toolkit.virtual.sd_image import FIRMWARE_BYTES, FIRMWARE_OFFSET, OfficialImage, join_partitions, write_sd_image
from toolkit.virtual.tools import Tools, get_tools

from ..ansible.conftest import booted
from .test_official_image import write_boot_partition
from .test_sd_image_boot import NAME, USER, Started

pytestmark = [pytest.mark.pi, pytest.mark.timeout(3600)]

FINISHED = "cloud-init status --wait || test $? = 2"
"""Wait for its last stage; 2: it logged something, as that the image's own setting fs_label is deprecated."""
AS_RASPBERRY_PI_OS = r"""
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -qq --no-install-recommends cloud-init netplan.io
printf '%s\n' 'datasource_list: [NoCloud, None]' 'datasource: {NoCloud: {fs_label: bootfs}}' >/etc/cloud/cloud.cfg.d/99_raspberry-pi.cfg
mkdir -p /boot/firmware
echo 'LABEL=bootfs /boot/firmware vfat defaults 0 2' >>/etc/fstab
cat >/usr/lib/systemd/system/regenerate_ssh_host_keys.service <<'UNIT'
[Unit]
Before=ssh.service
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'rm -f /etc/ssh/ssh_host_*_key* && ssh-keygen -A'
[Install]
WantedBy=multi-user.target
UNIT
systemctl enable regenerate_ssh_host_keys.service
systemctl disable ssh.service ssh.socket
rm -f /etc/systemd/network/10-wired.network /etc/ssh/ssh_host_*_key*
cloud-init clean --logs
sync
"""
"""Turn a bare device into what Raspberry Pi publishes, as far as presetting is concerned."""


@pytest.fixture(scope="module")
def tools() -> Tools:
    return get_tools(Lines())


@pytest.fixture(scope="module")
def disk(tools: Tools) -> Disk:
    return get_disk(tools, Lines())


@pytest.fixture(scope="module")
def official(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stand-in, not compressed."""
    folder = tmp_path_factory.mktemp("official")
    with booted({}) as pi:
        pi.sh(AS_RASPBERRY_PI_OS)
        stop(pi.machine)
        tools.run("qemu-img", "convert", "-O", "raw", pi.machine.disk, folder / "root")
    write_boot_partition(folder / "fat", tools, FIRMWARE_BYTES, "console=ttyAMA0 net.ifnames=0\n")
    join_partitions(folder)
    (folder / "root").unlink()
    return folder / "card"


@pytest.fixture(scope="module")
def started(official: Path, disk: Disk, tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    """A card for USER, preset and booted from for the first time."""
    folder = tmp_path_factory.mktemp("card")
    make_key(folder / "key")
    image = folder / f"{NAME}.img"
    with official.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    write_sd_image(
        NAME, (public_key(folder / "key"),), image, Lines(), user=USER, official=OfficialImage(official, digest)
    )
    started = Started(Machine(NAME, folder, *free_ports(1)), folder / "key", image.with_suffix(".known_hosts"))
    try:
        start(started.machine, disk, tools)
        yield started
    finally:
        stop(started.machine, seconds=0)


def start(machine: Machine, disk: Disk, tools: Tools) -> None:
    """Boot from the card with its own command line, and wait for the SSH server."""
    image = machine.folder / f"{NAME}.img"
    (machine.folder / "initrd").write_bytes(disk.initrd)
    command = qemu_arguments(machine, disk, MachineSize(), accelerator())
    command[command.index("-append") + 1] = tools.run(
        "mtype", "-i", f"{image}@@{FIRMWARE_OFFSET}", "::cmdline.txt"
    ).strip()
    command[command.index("-drive") + 1] = f"file={image},if=none,id=disk,format=raw,cache=unsafe"
    launch(machine, tools, command)
    wait_for_ssh(machine, seconds=1200)


def test_first_boot_ends_with_name_user_and_pinned_host_key(started: Started) -> None:
    assert started.sh(FINISHED).split()[-1] == "done"
    assert started.sh("sudo grep -E 'WARNING|ERROR' /var/log/cloud-init.log || true") == ""
    assert started.sh("hostname; id -un; sudo id -un").split() == [NAME, USER, "root"]
    assert started.sh("sudo sshd -T | grep -x 'passwordauthentication no'")
    assert started.sh("systemctl is-enabled ssh.service regenerate_ssh_host_keys.service || true").split() == [
        "enabled",
        "masked",
    ]


def test_private_key_is_no_longer_on_the_boot_partition(started: Started) -> None:
    started.sh(FINISHED)
    assert started.sh("cat /boot/firmware/user-data").strip() == "#cloud-config"


def test_address_comes_from_the_preset_network(started: Started) -> None:
    assert started.sh("sudo netplan get ethernets.eth0.dhcp4").strip() == "true"
    assert "inet " in started.sh("ip -4 address show dev eth0")


def test_second_boot_is_the_same_device(started: Started, disk: Disk, tools: Tools) -> None:
    files = "cat /etc/machine-id /etc/ssh/ssh_host_ed25519_key.pub"
    before = started.sh(files)
    stop(started.machine)
    start(started.machine, disk, tools)
    assert started.sh(files) == before
