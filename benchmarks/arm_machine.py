"""A whole emulated ARM machine whose clock counts instructions, to check what the plugin of user emulation counts.

QEMU 10 runs Debian 12's kernel with `-icount shift=0`: a nanosecond of the machine's clock is one instruction. Nothing of the other
count is shared but the files: another QEMU, no plugin, a real kernel beneath the program. Its timer interrupts count too.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from arm_emulator import GUEST, ROOT, SUITE, TIMEOUT_S

from toolkit import files, hashing
from toolkit.errors import MachineError
from toolkit.progress import create_progress
from toolkit.system import debian_packages
from toolkit.system.cache_dirs import cache_dir
from toolkit.virtual import cpio
from toolkit.virtual.disk_image import KERNEL
from toolkit.virtual.tools import get_tools

MEMORY_MB = 3072
INIT = """\
#!/usr/bin/python3.11
import ctypes, os, runpy, sys
libc = ctypes.CDLL(None, use_errno=True)
for kind, place in (b"proc", b"/proc"), (b"sysfs", b"/sys"), (b"devtmpfs", b"/dev"):
    libc.mount(kind, place, kind, 0, None)
sys.path[:0] = ["/site", "/"]
sys.argv = ["/arm_guest.py", *ARGUMENTS]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    sys.stdout.flush()
    libc.reboot(0x4321FEDC)
"""
"""Process 1: mounts what the runtimes read about the processor, runs the guest's program and switches the machine off."""


def clock_instructions(lab: Path, core: str, model: Path, image: Path, precision: str | None) -> int:
    """Return the instructions of one inference by the machine's clock: two of them less one, as with the plugin.

    `lab` is `arm_emulator.prepare`'s folder.

    Raises:
        MachineError: the machine or the program in it failed; with the console's last lines.
    """
    names = [model, *model.parent.glob("*.bin"), image]
    arguments = [f"/model/{model.name}", f"/model/{image.name}", *([precision] if precision else [])]
    entries = [
        cpio.folder("model"),
        *(cpio.file(f"model/{path.name}", path.read_bytes()) for path in names),
        cpio.file("arm_guest.py", GUEST.read_bytes()),
        cpio.file("init", INIT.replace("ARGUMENTS", json.dumps(arguments)), 0o755),
    ]
    with tempfile.TemporaryDirectory(prefix="bench-arm-") as folder:
        initrd = Path(folder) / "initrd"
        initrd.write_bytes(cpio.archive([*_system(lab), *entries]))
        console = _boot(core, initrd)
    report = re.search(r"REPORT (\{.*\})", console)
    if not report:
        raise MachineError(f"the emulated {core} gave no count: {' / '.join(console.splitlines()[-5:])}")
    once, twice = json.loads(report.group(1))["clock_ns"]
    return int(twice) - int(once)


def _boot(core: str, initrd: Path) -> str:
    """Return what the machine wrote to its console until it switched itself off."""
    # sleep=off: an idle processor's clock goes on at once. One processor: its clock is that of the program.
    argv = get_tools(create_progress()).qemu(
        "-machine", "virt", "-cpu", core, "-smp", "1", "-m", str(MEMORY_MB), "-accel", "tcg,tb-size=512",
        "-icount", "shift=0,sleep=off", "-kernel", _kernel(), "-initrd", initrd, "-nographic", "-nic", "none",
        "-no-reboot", "-append", "console=ttyAMA0 rdinit=/init quiet panic=-1 nokaslr",
    )  # fmt: skip
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False, timeout=TIMEOUT_S
    )
    return done.stdout + done.stderr


def _kernel() -> Path:
    """Return Debian's kernel, downloaded the first time."""
    folder = cache_dir("arm") / f"kernel-{hashing.sha256_json([SUITE, KERNEL])[:16]}"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with files.part_folder(folder.parent) as partial:
            archive = debian_packages.Archive(partial / "apt", debian_packages.sources(SUITE), "arm64")
            (name, *_) = (name for name in archive.dependencies(KERNEL) if name.startswith("linux-image-"))
            debian_packages.unpack(archive.download([name]), partial / "new")
            (partial / "new").rename(folder)
    (kernel,) = (folder / "boot").glob("vmlinuz-*")
    return kernel


def _system(lab: Path) -> Iterator[cpio.ArchiveMember]:
    """The packages, the wheels and the device code, as the initial RAM disk holds them."""
    yield from _tree(lab / "arm64", "")
    yield from _tree(lab / "site", "site")
    yield cpio.folder("toolkit")
    yield cpio.file("toolkit/__init__.py", (ROOT / "toolkit/__init__.py").read_bytes())
    yield from _tree(ROOT / "toolkit/device", "toolkit/device")
    yield from (cpio.folder(name) for name in ("proc", "sys", "dev", "tmp") if not (lab / "arm64" / name).exists())


def _tree(top: Path, at: str) -> Iterator[cpio.ArchiveMember]:
    """Everything under `top`, as if it lay in `at`."""
    if at:
        yield cpio.folder(at)
    for folder, names, others in os.walk(top):
        names.sort()
        place = "/".join(part for part in (at, Path(folder).relative_to(top).as_posix()) if part not in ("", "."))
        for name in [*names, *sorted(others)]:
            path, full = Path(folder, name), f"{place}/{name}".lstrip("/")
            if path.is_symlink():
                yield cpio.link(full, str(path.readlink()))
            elif path.is_dir():
                yield cpio.folder(full)
            else:
                yield cpio.file(full, path.read_bytes(), path.stat().st_mode & 0o777)
