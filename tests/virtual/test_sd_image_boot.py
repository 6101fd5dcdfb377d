"""A card's image as the disk of an emulated machine, logged in to by the preset key: `just test-pi`.

What a Pi's firmware does is done here: kernel, initial RAM disk and command line are taken from the card's first partition, as its
config.txt says. QEMU has a Pi 3, too: it reads the card and starts systemd, but on a busy machine its card reader times out and gives garbage.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from toolkit.fleet.ssh.keys import make_key, public_key
from toolkit.progress import Lines
from toolkit.virtual import sd_image
from toolkit.virtual.machine import ADDRESS, Machine, accelerator, free_ports, launch, stop, wait_for_ssh
from toolkit.virtual.tools import Tools, get_tools

pytestmark = [pytest.mark.pi, pytest.mark.timeout(1800)]

NAME, USER = "kitchen", "ada"
CARD_BYTES = 4 << 30


@dataclass(frozen=True)
class Started:
    """A machine with the card in it, and how to log in."""

    machine: Machine
    key: Path
    known_hosts: Path

    def sh(self, script: str) -> str:
        options = [f"UserKnownHostsFile={self.known_hosts}", f"HostKeyAlias={NAME}", "StrictHostKeyChecking=yes"]
        argv = ["ssh", "-F", "none", "-i", str(self.key), "-p", str(self.machine.port), "-o", "BatchMode=yes"]
        argv += [word for option in options for word in ("-o", option)]
        argv += [f"{USER}@{ADDRESS}", script]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return str(done.stdout).strip()


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    """A card for USER, written and booted from."""
    folder = tmp_path_factory.mktemp("card")
    tools = get_tools(Lines())
    make_key(folder / "key")
    image = folder / f"{NAME}.img"
    sd_image.write_sd_image(NAME, (public_key(folder / "key"),), image, Lines(), user=USER)
    machine = Machine(NAME, folder, *free_ports(1))
    try:
        start(machine, image, tools)
        wait_for_ssh(machine)
        yield Started(machine, folder / "key", image.with_suffix(".known_hosts"))
    finally:
        stop(machine, seconds=0)


def start(machine: Machine, image: Path, tools: Tools) -> None:
    """Boot from the card, which is larger than what was written to it."""
    firmware = machine.folder / "firmware"
    firmware.mkdir()
    tools.run("mcopy", "-s", "-i", f"{image}@@{sd_image.FIRMWARE_OFFSET}", "::", firmware)
    tools.run("qemu-img", "resize", "-q", "-f", "raw", image, str(CARD_BYTES))
    config = (firmware / "config.txt").read_text()
    accelerated, cpu = accelerator()
    argv = [
        *("-machine", "virt", "-accel", accelerated, "-cpu", cpu, "-smp", "2", "-m", "1024"),
        *("-kernel", str(firmware / setting(config, "kernel="))),
        *("-initrd", str(firmware / setting(config, "initramfs ").split()[0])),
        *("-append", f"{(firmware / 'cmdline.txt').read_text().strip()} console=ttyAMA0"),
        *("-drive", f"file={image},if=none,id=card,format=raw,cache=unsafe", "-device", "virtio-blk-pci,drive=card"),
        *("-netdev", f"user,id=net,hostfwd=tcp:{ADDRESS}:{machine.port}-:22"),
        *("-device", "virtio-net-pci,netdev=net,romfile=", "-device", "virtio-rng-pci"),
        *("-display", "none", "-serial", f"file:{machine.console}", "-daemonize"),
        *("-qmp", f"unix:{machine.control.name},server=on,wait=off"),
    ]
    launch(machine, tools, argv)


def setting(config: str, begin: str) -> str:
    """What follows `begin` on its line of config.txt."""
    (line,) = (line for line in config.splitlines() if line.startswith(begin))
    return line.removeprefix(begin)


def test_card_boots_with_its_preset_name_user_and_keys(started: Started) -> None:
    assert started.sh("hostname; id -un; sudo id -un").split() == [NAME, USER, "root"]


def test_file_system_takes_the_whole_card_at_the_first_start(started: Started) -> None:
    assert started.sh("systemctl is-system-running --wait || systemctl --failed --no-legend") == "running"
    assert int(started.sh("df --output=size -B1 / | tail -1")) > 0.9 * (CARD_BYTES - sd_image.ROOT_OFFSET)


def test_firmware_finds_the_trees_of_the_pis_it_is_for(started: Started) -> None:
    names = {path.name for path in (started.machine.folder / "firmware").iterdir()}
    assert {"bcm2837-rpi-3-b.dtb", "bcm2711-rpi-4-b.dtb", "bootcode.bin", "start.elf", "start4.elf"} <= names


def test_firmware_is_mounted_where_updates_of_it_are_written(started: Started) -> None:
    assert started.sh(
        "sudo systemctl start boot-firmware.mount && findmnt -n -o FSTYPE,LABEL /boot/firmware"
    ).split() == ["vfat", "FIRMWARE"]
