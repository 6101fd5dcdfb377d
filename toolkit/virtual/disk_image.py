"""The disk image of a bare arm64 device: Debian with SSH, Python and a kernel. Built once, without root.

mmdebstrap builds the root filesystem (its arm64 programs run under user emulation). The kernel package is unpacked
rather than installed, which would build an initial RAM disk under emulation for minutes. `mke2fs -d` writes the
filesystem from a tar file; nothing is mounted. The cache is $XDG_CACHE_HOME/edge-vision-toolkit/disks/, keyed by a
digest of all inputs. The tar file is kept until the image is complete, so a failed build resumes after mmdebstrap.
"""

from __future__ import annotations

import lzma
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit import hashing
from toolkit.errors import MachineError
from toolkit.progress import Progress
from toolkit.system import debian_packages
from toolkit.system.cache_dirs import cache_dir
from toolkit.virtual import cpio
from toolkit.virtual.tools import Tools

SUITE, LEGACY_SUITE = "trixie", "bullseye"
SUITES = (SUITE, "bookworm", LEGACY_SUITE)
LEGACY_KERNEL_SUITE = "bookworm"
"""Debian 11 devices boot Debian 12's kernel."""
ARCHITECTURE = "arm64"
SIZE = "6G"
"""Size of the filesystem. Unused blocks are holes in the file."""
SYSTEM_PACKAGES = (
    "systemd-sysv",
    "systemd-timesyncd",
    "udev",
    "dbus",
    "kmod",
    "iproute2",
    "tzdata",
    "logrotate",
    "fdisk",
    "e2fsprogs",
)
LOGIN_PACKAGES = ("openssh-server", "sudo", "rsync", "ca-certificates", "python3", "python3-apt", "python3-venv")
RESOLVER_PACKAGES = ("systemd-resolved",)
"""A package of its own since Debian 12."""
EXCLUDED_PATHS = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/info/*")
KERNEL = "linux-image-arm64"
EXCLUDED_MODULES = ("drivers/gpu", "drivers/iio", "drivers/infiniband", "sound")
EARLY_MODULES = ("virtio_pci", "virtio_blk", "sdhci_iproc", "bcm2835", "mmc_block", "ext4", "crc32c_generic")
"""Drivers for the disk that holds the root filesystem: a virtual disk, or the SD card of a Pi."""

_CUSTOMIZE = Path(__file__).with_name("customize.sh")
_INIT = Path(__file__).with_name("init.sh")
_NO_EMULATION = "as root, on Debian: apt-get install arch-test binfmt-support mmdebstrap qemu-user-static"
_NO_BINFMT = "as root: update-binfmts --enable qemu-aarch64"
_NO_ARCHIVE = (
    "check that this machine's Debian sources can be reached (apt-get update), or set DEBIAN_MIRROR to a mirror"
)

_NO_SPACE = "No space left on device"
_FULL = (
    "free space in the folder of temporary files and in the user's cache, or name others by TMPDIR and XDG_CACHE_HOME"
)


@dataclass(frozen=True, slots=True)
class Disk:
    """The folder of a finished disk image."""

    folder: Path

    @property
    def root(self) -> Path:
        """The root filesystem as a raw image, labeled "root"."""
        return self.folder / "root.ext4"

    @property
    def kernel(self) -> Path:
        """The kernel."""
        return self.folder / "vmlinuz"

    @property
    def initrd(self) -> bytes:
        """The initial RAM disk. A device's seed archive may be appended."""
        return (self.folder / "initrd").read_bytes()

    @property
    def device_trees(self) -> Path:
        """The folder of the Raspberry Pi device trees."""
        return self.folder / "trees"


def get_disk(tools: Tools, progress: Progress, suite: str = SUITE) -> Disk:
    """Return the disk image of a suite, building it the first time (some minutes, some hundred megabytes fetched).

    Raises:
        MachineError: a program is missing, or the Debian archive cannot be reached.
    """
    folder = cache_dir("disks") / _digest(suite)
    if not folder.exists():
        progress.log(f"building the disk image of a bare arm64 device (Debian {suite}): takes some minutes, once")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".part-", dir=folder.parent) as temporary:
            new = Path(temporary) / "new"
            new.mkdir()
            _build(new, Path(temporary), suite, tools)
            new.rename(folder)
        _root_tar(suite).unlink(missing_ok=True)
    return Disk(folder)


def _digest(suite: str) -> str:
    kernel = [KERNEL, EXCLUDED_MODULES, EARLY_MODULES, debian_packages.sources(kernel_suite(suite)), SIZE]
    return hashing.sha256_json([_root_digest(suite), *kernel, _INIT.read_text()])[:16]


def _root_digest(suite: str) -> str:
    return hashing.sha256_json([suite, packages(suite), sources(suite), EXCLUDED_PATHS, _CUSTOMIZE.read_text()])[:16]


def _root_tar(suite: str) -> Path:
    return cache_dir("disks") / f"root-{_root_digest(suite)}.tar"


def packages(suite: str) -> tuple[str, ...]:
    """Packages that a device has beyond Debian's minimal set."""
    return (*SYSTEM_PACKAGES, *LOGIN_PACKAGES, *(() if suite == LEGACY_SUITE else RESOLVER_PACKAGES))


def kernel_suite(suite: str) -> str:
    """The suite whose kernel boots devices of `suite`."""
    return LEGACY_KERNEL_SUITE if suite == LEGACY_SUITE else suite


def sources(suite: str) -> str:
    """This machine's Debian sources for the suite. Mirrors hold updates of the legacy suite for amd64 only: none are listed."""
    lines = debian_packages.sources(suite).splitlines(keepends=True)
    return "".join(line for line in lines if suite != LEGACY_SUITE or f" {suite} " in line)


def _build(new: Path, work: Path, suite: str, tools: Tools) -> None:
    debian_packages.check_programs((*debian_packages.PROGRAMS, "mmdebstrap"))
    if not _root_tar(suite).exists():
        _run_mmdebstrap(mmdebstrap_command(work / "fresh.tar", suite), sources(suite))
        (work / "fresh.tar").rename(_root_tar(suite))
    root = shutil.copy(_root_tar(suite), work / "root.tar")
    archive = debian_packages.Archive(work / "apt", debian_packages.sources(kernel_suite(suite)), ARCHITECTURE)
    kernel, busybox = _fetch(archive, work)
    version = _install_kernel(kernel, work / "kernel", new)
    tools.run("depmod", "-b", work / "kernel", version)
    with tarfile.open(root, "a", format=tarfile.GNU_FORMAT) as stream:  # the format that mke2fs reads
        stream.add(work / "kernel/usr/lib/modules", "./usr/lib/modules", filter=_owned_by_root)
    modules = early_modules(work / "kernel/usr/lib/modules" / version, EARLY_MODULES)
    (new / "initrd").write_bytes(cpio.archive(initrd_entries(busybox, modules)))
    tools.run("mke2fs", "-q", "-t", "ext4", "-L", "root", "-E", "root_owner=0:0", "-d", root, new / "root.ext4", SIZE)


def mmdebstrap_command(output: Path, suite: str = SUITE) -> list[str]:
    """The mmdebstrap command line; it reads the sources from stdin."""
    # Not --quiet, which keeps back why apt failed.
    command = ["mmdebstrap", "--variant=minbase", f"--architectures={ARCHITECTURE}"]
    command += [f"--include={','.join(packages(suite))}", '--aptopt=APT::Install-Recommends "false"']
    command += [f"--dpkgopt=path-exclude={pattern}" for pattern in EXCLUDED_PATHS]
    # Package lists in the image save a device from fetching them at once.
    command += ["--skip=cleanup/apt/lists", '--aptopt=Acquire::Languages "none"', '--aptopt=Acquire::Retries "3"']
    command += [
        f"--essential-hook=sh '{_CUSTOMIZE}' essential \"$1\"",
        f"--customize-hook=sh '{_CUSTOMIZE}' finish \"$1\"",
    ]
    if suite == LEGACY_SUITE:
        command += [f"--setup-hook=sh '{_CUSTOMIZE}' merge \"$1\""]
    return [*command, suite, str(output), "-"]


def _run_mmdebstrap(command: Sequence[str], listed: str) -> None:
    environment = os.environ | {"LC_ALL": "C"}
    done = subprocess.run(command, input=listed, text=True, check=False, capture_output=True, env=environment)
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines()]
        errors = [line for line in lines if line.startswith("E:") or _NO_SPACE in line][:4] or lines[-2:]
        raise MachineError(f"mmdebstrap: {' '.join(errors)}", remedy=_remedy(lines))


def _remedy(lines: Sequence[str]) -> str:
    """What to do about mmdebstrap's messages."""
    if any(_NO_SPACE in line for line in lines):
        return _FULL
    if any(line.startswith("E: apt") for line in lines):
        return _NO_ARCHIVE
    return _NO_BINFMT if shutil.which("update-binfmts") and shutil.which("arch-test") else _NO_EMULATION


def _fetch(archive: debian_packages.Archive, work: Path) -> tuple[Path, Path]:
    """Download the kernel package and busybox. Debian 13 has busybox in /usr/bin."""
    (name, *_) = (name for name in archive.dependencies(KERNEL) if name.startswith("linux-image-"))
    packages = {path.name.partition("_")[0]: path for path in archive.download([name, "busybox-static"])}
    debian_packages.unpack([packages["busybox-static"]], work / "busybox")
    places = (work / "busybox" / folder / "busybox" for folder in ("bin", "usr/bin"))
    return packages[name], next(path for path in places if path.exists())


def _install_kernel(package: Path, target: Path, new: Path) -> str:
    """Put kernel and device trees into `new`, modules into `target`; return the kernel's version."""
    unpacked = target.with_name("unpacked")
    debian_packages.unpack([package], unpacked)
    # Debian 13's package has them in /usr.
    (folder,) = (path for path in (unpacked / "lib/modules", unpacked / "usr/lib/modules") if path.exists())
    (modules,) = folder.iterdir()
    for name in EXCLUDED_MODULES:
        shutil.rmtree(modules / "kernel" / name)
    (target / "usr/lib").mkdir(parents=True)
    (target / "lib").symlink_to("usr/lib")
    modules.parent.rename(target / "usr/lib/modules")
    (unpacked / f"boot/vmlinuz-{modules.name}").rename(new / "vmlinuz")
    (unpacked / f"usr/lib/linux-image-{modules.name}/broadcom").rename(new / "trees")
    return modules.name


def _owned_by_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member


def early_modules(folder: Path, names: Sequence[str]) -> tuple[Path, ...]:
    """Files of these modules and their dependencies, in loading order. Built-in modules have no file."""
    lines = (line.partition(":") for line in (folder / "modules.dep").read_text().splitlines())
    dependencies = {path: after.split() for path, _, after in lines}
    by_name = {Path(path).name.partition(".")[0].replace("-", "_"): path for path in dependencies}
    # modules.dep lists the nearest dependency first.
    paths = [
        path for name in names if name in by_name for path in (*reversed(dependencies[by_name[name]]), by_name[name])
    ]
    return tuple(folder / path for path in dict.fromkeys(paths))


def initrd_entries(busybox: Path, modules: Sequence[Path]) -> Iterator[cpio.ArchiveMember]:
    """Files of the initial RAM disk. Modules are decompressed: busybox loads no .ko.xz."""
    yield from (cpio.folder(name) for name in ("bin", "dev", "proc", "sys", "root", "modules"))
    yield cpio.file("bin/busybox", busybox.read_bytes(), 0o755)
    yield cpio.file("init", _INIT.read_bytes(), 0o755)
    for number, module in enumerate(modules):
        content = module.read_bytes()
        if module.suffix == ".xz":
            content = lzma.decompress(content)
        yield cpio.file(f"modules/{number:02}-{module.name.removesuffix('.xz')}", content)
