"""The disk of a bare arm64 device: Debian 11 or 12 with SSH and Python, and Debian 12's kernel; made once, without root.

mmdebstrap makes the root filesystem (its arm64 programs run under user emulation); the kernel's package is unpacked and not
installed, which would make an initial RAM disk under emulation for minutes; `mke2fs -d` writes the file system from a tar file. Nothing is
mounted. The cache is $XDG_CACHE_HOME/edge-vision-toolkit/disks/ and a digest of all that goes into it.
"""

from __future__ import annotations

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
from toolkit.system import debian_packages, wheel_cache
from toolkit.virtual import cpio
from toolkit.virtual.tools import Tools

SUITE, OLD_SUITE = "bookworm", "bullseye"
SUITES = (SUITE, OLD_SUITE)
ARCHITECTURE = "arm64"
SIZE = "6G"
"""Of the file system; what is not used takes no room."""
SYSTEM = ("systemd-sysv", "systemd-timesyncd", "udev", "dbus", "kmod", "iproute2", "tzdata", "logrotate", "fdisk")
LOGIN = ("openssh-server", "sudo", "rsync", "ca-certificates", "python3", "python3-apt", "python3-venv")
ONLY_IN = {SUITE: ("systemd-resolved",), OLD_SUITE: ()}
"""Packages whose content the other suite has elsewhere."""
LEFT_OUT = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/info/*")
KERNEL = "linux-image-arm64"
KERNEL_LEFT_OUT = ("drivers/gpu", "drivers/iio", "drivers/infiniband", "sound")
EARLY_MODULES = ("virtio_pci", "virtio_blk", "sdhci_iproc", "bcm2835", "mmc_block", "ext4", "crc32c_generic")
"""What finds the root's disk: a virtual one, or the card of a Pi."""

_CUSTOMIZE = Path(__file__).with_name("customize.sh")
_INIT = Path(__file__).with_name("init.sh")
_NO_EMULATION = "as root, on Debian 12: apt-get install mmdebstrap qemu-user-static binfmt-support"
_NO_ARCHIVE = (
    "see whether this machine's Debian sources can be reached (apt-get update), or set DEBIAN_MIRROR to a mirror"
)


@dataclass(frozen=True, slots=True)
class Disk:
    """The folder of a finished one."""

    folder: Path

    @property
    def root(self) -> Path:
        """The file system, as a raw image; its label is "root"."""
        return self.folder / "root.ext4"

    @property
    def kernel(self) -> Path:
        """What starts it."""
        return self.folder / "vmlinuz"

    @property
    def initial(self) -> bytes:
        """Its initial RAM disk, to which a device's own seed may be added."""
        return (self.folder / "initrd").read_bytes()

    @property
    def trees(self) -> Path:
        """The device trees of the Pis."""
        return self.folder / "trees"


def get_disk(tools: Tools, progress: Progress, suite: str = SUITE) -> Disk:
    """The disk, made the first time: two to three minutes, and some hundred megabytes fetched.

    Raises:
        MachineError: a program is missing here, or the archive cannot be reached; says what to do.
    """
    folder = wheel_cache.cache_folder().parent / "disks" / _digest(suite)
    if not folder.exists():
        progress.log("making the disk of a bare arm64 device: takes some minutes, once")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".part-", dir=folder.parent) as beside:
            new = Path(beside) / "new"
            new.mkdir()
            _make(new, Path(beside), suite, tools)
            new.rename(folder)
    return Disk(folder)


def _digest(suite: str) -> str:
    parts = [packages(suite), sources(suite), debian_packages.sources(SUITE), SIZE, LEFT_OUT]
    parts += [KERNEL, KERNEL_LEFT_OUT, EARLY_MODULES, _CUSTOMIZE.read_text(), _INIT.read_text()]
    return hashing.sha256_json([suite, *parts])[:16]


def packages(suite: str) -> tuple[str, ...]:
    """What a device has beyond the smallest Debian."""
    return (*SYSTEM, *LOGIN, *ONLY_IN[suite])


def sources(suite: str) -> str:
    """This machine's Debian sources for the suite: of the older one the release alone, as mirrors hold its updates for amd64 only."""
    lines = debian_packages.sources(suite).splitlines(keepends=True)
    return "".join(line for line in lines if suite == SUITE or f" {suite} " in line)


def _make(new: Path, work: Path, suite: str, tools: Tools) -> None:
    root = work / "root.tar"
    debian_packages.check_programs((*debian_packages.PROGRAMS, "mmdebstrap"))
    _run_mmdebstrap(bootstrap(root, suite), sources(suite))
    archive = debian_packages.Archive(work / "apt", debian_packages.sources(SUITE), ARCHITECTURE)
    kernel, busybox = _fetch(archive, work)
    version = _take_kernel(kernel, work / "kernel", new)
    tools.run("depmod", "-b", work / "kernel", version)
    with tarfile.open(root, "a", format=tarfile.GNU_FORMAT) as stream:  # what mke2fs reads
        stream.add(work / "kernel/usr/lib/modules", "./usr/lib/modules", filter=_as_root)
    modules = early_modules(work / "kernel/usr/lib/modules" / version, EARLY_MODULES)
    (new / "initrd").write_bytes(cpio.archive(_early(busybox, modules)))
    tools.run("mke2fs", "-q", "-t", "ext4", "-L", "root", "-E", "root_owner=0:0", "-d", root, new / "root.ext4", SIZE)


def bootstrap(output: Path, suite: str = SUITE) -> list[str]:
    """The words that run mmdebstrap; it reads the sources from stdin."""
    words = ["mmdebstrap", "--quiet", "--variant=minbase", f"--architectures={ARCHITECTURE}"]
    words += [f"--include={','.join(packages(suite))}", '--aptopt=APT::Install-Recommends "false"']
    words += [f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT]
    # A device with the archive's lists at hand need not fetch them at once.
    words += ["--skip=cleanup/apt/lists", '--aptopt=Acquire::Languages "none"', '--aptopt=Acquire::Retries "3"']
    words += [
        f"--essential-hook=sh '{_CUSTOMIZE}' essential \"$1\"",
        f"--customize-hook=sh '{_CUSTOMIZE}' finish \"$1\"",
    ]
    if suite == OLD_SUITE:
        words += [f"--setup-hook=sh '{_CUSTOMIZE}' merge \"$1\""]
    return [*words, suite, str(output), "-"]


def _run_mmdebstrap(words: Sequence[str], listed: str) -> None:
    done = subprocess.run(
        words, input=listed, text=True, check=False, capture_output=True, env=os.environ | {"LC_ALL": "C"}
    )
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("E:")] or done.stderr.splitlines()[-2:]
        fetching = any(line.startswith("E: apt") for line in said)
        raise MachineError(f"mmdebstrap: {' '.join(said)}", remedy=_NO_ARCHIVE if fetching else _NO_EMULATION)


def _fetch(archive: debian_packages.Archive, work: Path) -> tuple[Path, Path]:
    """The kernel's package, and a busybox."""
    (name, *_) = (name for name in archive.dependencies(KERNEL) if name.startswith("linux-image-"))
    packages = {path.name.partition("_")[0]: path for path in archive.download([name, "busybox-static"])}
    debian_packages.unpack([packages["busybox-static"]], work / "busybox")
    return packages[name], work / "busybox/bin/busybox"


def _take_kernel(package: Path, into: Path, new: Path) -> str:
    """Put the kernel and the Pis' device trees into `new` and the modules into `into`; gives the kernel's version."""
    debian_packages.unpack([package], into.with_name("unpacked"))
    unpacked = into.with_name("unpacked")
    (modules,) = (unpacked / "lib/modules").iterdir()
    for name in KERNEL_LEFT_OUT:
        shutil.rmtree(modules / "kernel" / name)
    (into / "usr/lib").mkdir(parents=True)
    (into / "lib").symlink_to("usr/lib")
    modules.parent.rename(into / "usr/lib/modules")
    (unpacked / f"boot/vmlinuz-{modules.name}").rename(new / "vmlinuz")
    (unpacked / f"usr/lib/linux-image-{modules.name}/broadcom").rename(new / "trees")
    return modules.name


def _as_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member


def early_modules(folder: Path, names: Sequence[str]) -> tuple[Path, ...]:
    """The files of these modules and of those they need, in an order in which they load; what is built in has no file."""
    lines = (line.partition(":") for line in (folder / "modules.dep").read_text().splitlines())
    needs = {path: after.split() for path, _, after in lines}
    by_name = {Path(path).name.partition(".")[0].replace("-", "_"): path for path in needs}
    # modules.dep names what one needs nearest first.
    wanted = [path for name in names if name in by_name for path in (*reversed(needs[by_name[name]]), by_name[name])]
    return tuple(folder / path for path in dict.fromkeys(wanted))


def _early(busybox: Path, modules: Sequence[Path]) -> Iterator[cpio.Entry]:
    """The initial RAM disk."""
    yield from (cpio.folder(name) for name in ("bin", "dev", "proc", "sys", "root", "modules"))
    yield cpio.file("bin/busybox", busybox.read_bytes(), 0o755)
    yield cpio.file("init", _INIT.read_bytes(), 0o755)
    for number, module in enumerate(modules):
        yield cpio.file(f"modules/{number:02}-{module.name}", module.read_bytes())
