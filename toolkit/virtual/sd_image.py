"""SD card image of our own for a Pi 3 or 4, or a virtual machine: a bare Debian device with name, key and user preset. No root.

    MBR │ firmware: FAT32 with the Pi's boot files, kernel and initial RAM disk │ root: ext4, grows at the first boot

The firmware is Raspberry Pi's own, from Debian's package raspi-firmware (non-free-firmware). `official_image` presets the images
of Raspberry Pi instead, for every model.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from toolkit.errors import UsageError
from toolkit.files import atomic_write
from toolkit.fleet.ssh.keys import make_key, public_key
from toolkit.progress import Progress
from toolkit.system import debian_packages
from toolkit.virtual import cpio
from toolkit.virtual.cloud_init import CardNetwork, Login
from toolkit.virtual.disk_image import ARCHITECTURE, SUITE, Disk, get_disk
from toolkit.virtual.official_image import preset_image, write_sparsely
from toolkit.virtual.partitions import FAT32, LINUX, SECTOR_BYTES, write_mbr
from toolkit.virtual.seed import USER, Seed
from toolkit.virtual.tools import Tools, get_tools

MIB = 1 << 20
FIRMWARE_OFFSET, FIRMWARE_BYTES = 4 * MIB, 256 * MIB
ROOT_OFFSET = FIRMWARE_OFFSET + FIRMWARE_BYTES

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
Description=Grow the root filesystem to the whole card
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
class OfficialImage:
    """An image of Raspberry Pi to preset, its expected SHA-256 ("" for that in the file beside it), and the network."""

    path: Path
    sha256: str = ""
    network: CardNetwork = field(default_factory=CardNetwork)


@dataclass(frozen=True, slots=True)
class SdImage:
    """A finished image, and the host key by which the device is known."""

    image: Path
    name: str
    user: str
    host_key: str


def write_sd_image(
    name: str,
    authorized_keys: tuple[str, ...],
    image: Path,
    progress: Progress,
    *,
    user: str = USER,
    official: OfficialImage | None = None,
) -> SdImage:
    """Write the image, and beside it the line for known_hosts, as `image` with the suffix .known_hosts.

    Raises:
        UsageError: an invalid name of a host or user, or an official image that cannot be preset.
        MachineError: a program or package is missing.
    """
    _check_name(name, "host")
    _check_name(user, "user")
    image.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".card-", dir=image.parent) as folder:
        key = Path(folder) / "host"
        make_key(key)
        host_key = public_key(key)
        login = Login(user, authorized_keys, key.read_text(), f"{host_key}\n")
        if official is None:
            _build(Path(folder), image, name, login, progress)
        else:
            preset_image(official.path, image, name, login, official.network, progress, sha256=official.sha256)
    with atomic_write(image.with_suffix(".known_hosts")) as stream:
        stream.write(f"{name} {host_key}\n".encode())
    return SdImage(image, name, user, host_key)


def _check_name(name: str, kind: str) -> None:
    letters = name.replace("-", "a")
    if not letters.isalnum() or not name.isascii() or name != name.lower() or not name[0].isalpha():
        raise UsageError(f"{name!r} is not a {kind} name", remedy="use lower-case letters, digits and hyphens")


def _build(work: Path, image: Path, name: str, login: Login, progress: Progress) -> None:
    tools = get_tools(progress)
    disk = get_disk(tools, progress)
    progress.log(f"writing {image}")
    extra = tuple(_card_files(login.user))
    seed = Seed(name, login.host_key, login.host_key_public, login.authorized_keys, extra)
    _write_firmware(work, disk, seed, tools)
    _write_root(work, disk, tools)
    join_partitions(work)
    (work / "card").replace(image)


def _card_files(user: str) -> Iterator[cpio.ArchiveMember]:
    """Seed files that a card has beyond those of a virtual disk."""
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


def _write_firmware(work: Path, disk: Disk, seed: Seed, tools: Tools) -> None:
    """Write the boot partition."""
    files = work / "firmware"
    listed = debian_packages.sources(SUITE, components="main non-free-firmware")
    packages = debian_packages.Archive(work / "apt", listed, ARCHITECTURE).download(["raspi-firmware"])
    debian_packages.unpack(packages, work / "unpacked")
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


def _write_root(work: Path, disk: Disk, tools: Tools) -> None:
    """Write the root filesystem, shrunk to its minimum."""
    tools.run("qemu-img", "convert", "-f", "raw", "-O", "raw", disk.root, work / "root")
    tools.run("resize2fs", "-M", work / "root")


def join_partitions(work: Path) -> None:
    """Write a partition table and the partitions `fat` and `root` of a folder to `card` there."""
    root_bytes = -(-(work / "root").stat().st_size // MIB) * MIB
    with (work / "card").open("wb") as card:
        card.write(write_mbr((FAT32, FIRMWARE_OFFSET, FIRMWARE_BYTES), (LINUX, ROOT_OFFSET, root_bytes)))
        for name, offset in (("fat", FIRMWARE_OFFSET), ("root", ROOT_OFFSET)):
            card.seek(offset)
            with (work / name).open("rb") as part:
                _copy(part, card)
        card.truncate(ROOT_OFFSET + root_bytes)


def _copy(source: BinaryIO, target: BinaryIO) -> None:
    while block := source.read(MIB):
        write_sparsely(target, block)
