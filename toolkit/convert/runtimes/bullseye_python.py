"""Python 3.9 from Debian 11's packages, unpacked into the user's cache without root and without changes to the system.

The packages are those of bullseye.lock; they run with the machine's own C library. The cache folder is
$XDG_CACHE_HOME/edge-vision-toolkit/bullseye/ followed by the lock's digest.
"""

from __future__ import annotations

import platform
from pathlib import Path

from toolkit import files, hashing
from toolkit.errors import MachineError
from toolkit.progress import Progress
from toolkit.system import debian_packages
from toolkit.system.cache_dirs import cache_dir

SUITE = "bullseye"
VERSION = "3.9"
LOCK = Path(__file__).with_name("bullseye.lock")
LIBRARIES = ("lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu")

_STARTER = """#!/bin/sh
root=$(dirname "$(dirname "$(readlink -f "$0")")")
LD_LIBRARY_PATH={libraries}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}} exec "$root/usr/bin/python{version}" "$@"
"""


def bullseye_python(progress: Progress) -> Path:
    """An interpreter of Python 3.9, made the first time.

    Raises:
        MachineError: the machine is not a Debian on x86-64, or the packages cannot be fetched; with the reason.
    """
    folder = cache_dir(SUITE) / hashing.sha256_file(LOCK)
    starter = folder / "bin" / f"python{VERSION}"
    if not starter.exists():
        _make(folder, progress)
    return starter


def _make(folder: Path, progress: Progress) -> None:
    _check_machine()
    listed = debian_packages.sources(SUITE)
    folder.parent.mkdir(parents=True, exist_ok=True)
    progress.log(f"unpacking Python {VERSION} from the packages of Debian 11")
    with files.part_folder(folder.parent) as partial:
        new = partial / "new"
        debian_packages.unpack(_fetch(partial, listed, progress), new)
        (new / "bin").mkdir()
        starter = new / "bin" / f"python{VERSION}"
        libraries = ":".join(f"$root/{library}" for library in LIBRARIES)
        starter.write_text(_STARTER.format(libraries=libraries, version=VERSION))
        starter.chmod(0o755)
        try:
            new.rename(folder)
        except OSError:
            if not folder.exists():  # another process was first: its folder is the same
                raise


def _check_machine() -> None:
    machine = (platform.system(), platform.machine())
    if machine != ("Linux", "x86_64"):
        raise MachineError(f"Debian 11's Python is unpacked on Linux on x86-64 only; this is {' on '.join(machine)}")
    debian_packages.check_programs()


def _fetch(folder: Path, listed: str, progress: Progress) -> list[Path]:
    """The packages as signed by the archive; a difference from the lock file is logged, and is no error."""
    lock = dict(line.split(" sha256:") for line in LOCK.read_text(encoding="utf-8").splitlines())
    names = sorted(line.partition("=")[0] for line in lock)
    result = debian_packages.Archive(folder, listed, "amd64").download(names)
    others = [path.name for path in result if hashing.sha256_file(path) not in lock.values()]
    if others:
        progress.log(f"signed by the archive, but not those that {LOCK.name} names: {', '.join(others)}")
    return result
