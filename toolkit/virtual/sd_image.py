"""An SD card's image for a Pi 3 or 4: the disk of a bare device with a name, a key and a user preset; made without root.

    MBR │ firmware: FAT32, what the Pi's ROM and firmware read, with kernel and initial RAM disk │ root: ext4, grows at the first start

The firmware is Raspberry Pi's own, from Debian's package raspi-firmware (non-free-firmware). Debian 12's kernel does not know
the Pi 5.
"""

from __future__ import annotations

import os
import shutil
import struct
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from toolkit.errors import UsageError
from toolkit.files import atomic_write
from toolkit.fleet.ssh.keys import make_key, public_key
from toolkit.progress import Progress
from toolkit.system import debian_packages
from toolkit.virtual import cpio
from toolkit.virtual.disk_image import ARCHITECTURE, SUITE, Disk, get_disk
from toolkit.virtual.seed import USER, Seed
from toolkit.virtual.tools import Tools, get_tools

MIB = 1 << 20
SECTOR_BYTES = 512
FIRMWARE_BEGIN, FIRMWARE_BYTES = 4 * MIB, 256 * MIB
ROOT_BEGIN = FIRMWARE_BEGIN + FIRMWARE_BYTES
FAT32, LINUX = 0x0C, 0x83

_CONFIG = """\
arm_64bit=1
enable_uart=1
upstream_kernel=1
kernel=vmlinuz
initramfs initrd followkernel
"""
_CMDLINE = "console=ttyS1,115200 console=tty0 root=LABEL=root rw\n"
_MOUNT = "LABEL=FIRMWARE /boot/firmware vfat defaults,nofail 0 2\n"
_GROW = """\
[Unit]
Description=Let the file system have the whole card
ConditionPathExists=!/var/lib/misc/grown
After=local-fs.target

[Service]
Type=oneshot
ExecStart=/bin/sh -euc 'part=$$(findmnt -no SOURCE /); disk=/dev/$$(lsblk -no PKNAME "$$part"); \\
  echo ", +" | sfdisk --no-reread --force -N 2 "$$disk"; partx --update --nr 2 "$$disk"; resize2fs "$$part"; touch /var/lib/misc/grown'

[Install]
WantedBy=multi-user.target
"""


@dataclass(frozen=True, slots=True)
class Card:
    """A finished image, and by which key the device will be known."""

    image: Path
    name: str
    user: str
    host_key: str


def make_card(
    name: str, authorized_keys: tuple[str, ...], image: Path, progress: Progress, *, user: str = USER
) -> Card:
    """Write the image; its host key's line for known_hosts is put beside it, as `image` with the suffix .known_hosts.

    Raises:
        UsageError: a name that cannot be a host's or a user's.
        MachineError: something is missing here; says what to do.
    """
    _check(name, user)
    tools = get_tools(progress)
    disk = get_disk(tools, progress)
    progress.log(f"writing {image}")
    image.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".card-", dir=image.parent) as folder:
        work = Path(folder)
        make_key(work / "host")
        seed = Seed(
            name, (work / "host").read_text(), f"{public_key(work / 'host')}\n", authorized_keys, tuple(_more(user))
        )
        _firmware(work, disk, seed, tools)
        _root(work, disk, tools)
        _join(work)
        (work / "card").replace(image)
        host_key = public_key(work / "host")
    with atomic_write(image.with_suffix(".known_hosts")) as stream:
        stream.write(f"{name} {host_key}\n".encode())
    return Card(image, name, user, host_key)


def _check(name: str, user: str) -> None:
    for word, what in ((name, "a host's name"), (user, "a user's name")):
        if not word.replace("-", "a").isalnum() or not word.isascii() or word != word.lower() or not word[0].isalpha():
            raise UsageError(f"{word!r} cannot be {what}", remedy="take lower-case letters, digits and hyphens")


def _more(user: str) -> Iterator[cpio.Entry]:
    """What a card has and a virtual disk has not."""
    yield cpio.folder("seed/boot")
    yield cpio.folder("seed/boot/firmware")
    yield cpio.file("seed/etc/systemd/system/grow-root.service", _GROW)
    yield cpio.link("seed/etc/systemd/system/multi-user.target.wants/grow-root.service", "../grow-root.service")
    lines = ["set -eu", f"echo '{_MOUNT.strip()}' >>/etc/fstab"]
    if user != USER:
        lines += [
            f"usermod --login {user} --home /home/{user} --move-home {USER}",
            f"groupmod --new-name {user} {USER}",
        ]
        lines += [f"sed -i 's/^{USER} /{user} /' /etc/sudoers.d/010_pi-nopasswd"]
    yield cpio.file("seed/seed.sh", "".join(f"{line}\n" for line in lines))


def _firmware(work: Path, disk: Disk, seed: Seed, tools: Tools) -> None:
    """The partition that the Pi starts from."""
    files = work / "firmware"
    listed = debian_packages.sources(SUITE, components="main non-free-firmware")
    debian_packages.unpack(
        debian_packages.Archive(work / "apt", listed, ARCHITECTURE).download(["raspi-firmware"]), work / "unpacked"
    )
    shutil.copytree(work / "unpacked/usr/lib/raspi-firmware", files)
    for tree in disk.device_trees.glob("*-rpi-*.dtb"):
        shutil.copy(tree, files)
    shutil.copy(disk.kernel, files / "vmlinuz")
    (files / "initrd").write_bytes(disk.initrd + seed.archive())
    (files / "config.txt").write_text(_CONFIG)
    (files / "cmdline.txt").write_text(_CMDLINE)
    sectors = str(FIRMWARE_BYTES // SECTOR_BYTES)
    tools.run("mformat", "-C", "-F", "-v", "FIRMWARE", "-T", sectors, "-h", "64", "-s", "32", "-i", work / "fat", "::")
    tools.run("mcopy", "-s", "-i", work / "fat", *sorted(files.iterdir()), "::")


def _root(work: Path, disk: Disk, tools: Tools) -> None:
    """The root's file system, as small as it can be."""
    tools.run("qemu-img", "convert", "-f", "raw", "-O", "raw", disk.root, work / "root")
    tools.run("resize2fs", "-M", work / "root")


def _join(work: Path) -> None:
    """One file: the table of partitions, then both."""
    root_bytes = -(-(work / "root").stat().st_size // MIB) * MIB
    with (work / "card").open("wb") as card:
        card.write(partition_table((FAT32, FIRMWARE_BEGIN, FIRMWARE_BYTES), (LINUX, ROOT_BEGIN, root_bytes)))
        for name, place in (("fat", FIRMWARE_BEGIN), ("root", ROOT_BEGIN)):
            card.seek(place)
            with (work / name).open("rb") as part:
                _copy_sparsely(part, card)
        card.truncate(ROOT_BEGIN + root_bytes)


def _copy_sparsely(source: IO[bytes], target: IO[bytes]) -> None:
    """Copy, leaving holes where there are only zeros."""
    while block := source.read(MIB):
        if block.count(0) == len(block):
            target.seek(len(block), os.SEEK_CUR)
        else:
            target.write(block)


def partition_table(*partitions: tuple[int, int, int]) -> bytes:
    """A master boot record: type, begin and length in bytes of each partition."""
    entries = b"".join(
        struct.pack(
            "<B3sB3sII", 0, b"\xfe\xff\xff", kind, b"\xfe\xff\xff", begin // SECTOR_BYTES, length // SECTOR_BYTES
        )
        for kind, begin, length in partitions
    )
    return bytes(446) + entries.ljust(64, b"\0") + b"\x55\xaa"
