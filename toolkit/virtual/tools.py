"""QEMU and the programs that build disk images, from Debian 13, unpacked into the user's cache and run from there.

Their own loader starts them, so they run on older systems too. QEMU 10 boots a machine in half the time of Debian 12's
QEMU 7.2. The cache is $XDG_CACHE_HOME/edge-vision-toolkit/tools/, keyed by a digest of the packages; QEMU_HOME names a folder
with such programs to use instead.
"""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit import hashing
from toolkit.errors import MachineError
from toolkit.progress import Progress
from toolkit.system import debian_packages
from toolkit.system.cache_dirs import cache_dir

SUITE = "trixie"
PACKAGES = ("e2fsprogs", "kmod", "libarchive13t64", "mtools", "qemu-utils", "qemu-system-arm")
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True, slots=True)
class Tools:
    """A folder of unpacked Debian packages."""

    root: Path

    def command(self, program: str, *arguments: str | Path) -> list[str]:
        """Return the command line that runs one of the programs."""
        library = self.root / f"usr/lib/{platform.machine()}-linux-gnu"
        (loader,) = library.glob("ld-linux-*.so.*")
        paths = (self.root / folder / program for folder in ("usr/bin", "usr/sbin", "bin", "sbin"))
        path = next((path for path in paths if path.exists()), None)
        if path is None:
            raise MachineError(
                f"{program} is missing", where=str(self.root), remedy="remove this folder and run the command again"
            )
        start = [loader, "--inhibit-cache", "--library-path", f"{library}:{library}/systemd", "--argv0", program, path]
        return [str(one) for one in (*start, *arguments)]

    def qemu(self, *arguments: str | Path) -> list[str]:
        """Return the command line that starts QEMU."""
        return self.command("qemu-system-aarch64", "-L", self.root / "usr/share/qemu", *arguments)

    def run(self, program: str, *arguments: str | Path) -> str:
        """Run a program and return its output.

        Raises:
            MachineError: it failed; includes its message.
        """
        return debian_packages.run_program(self.command(program, *arguments), program, self.root)


def get_tools(progress: Progress, packages: Sequence[str] = PACKAGES) -> Tools:
    """Return the programs of these packages, downloading them the first time.

    Raises:
        MachineError: this system is not Debian, or the packages cannot be downloaded.
    """
    named = os.environ.get("QEMU_HOME")
    if named and packages == PACKAGES:
        return Tools(Path(named).absolute())
    folder = cache_dir("tools") / hashing.sha256_json([SUITE, *packages])[:16]
    if not folder.exists():
        _make(folder, packages, progress)
    return Tools(folder)


def _make(folder: Path, packages: Sequence[str], progress: Progress) -> None:
    architecture = ARCHITECTURES.get(platform.machine())
    if architecture is None:
        raise MachineError(f"virtual devices run on x86-64 and arm64; this is {platform.machine()}")
    debian_packages.check_programs()
    progress.log(f"downloading {packages[-1]} and its dependencies from Debian 13")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".part-", dir=folder.parent) as partial:
        archive = debian_packages.Archive(Path(partial) / "apt", debian_packages.sources(SUITE), architecture)
        debian_packages.unpack(archive.download_closure(packages), Path(partial) / "new")
        try:
            (Path(partial) / "new").rename(folder)
        except OSError:
            if not folder.exists():  # another process was first: its folder is the same
                raise
