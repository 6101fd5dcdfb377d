"""ARM cores emulated by QEMU's user mode, with a plugin that counts the instructions of a program.

Debian 12's QEMU (7.2, linked dynamically: a static one loads no plugins), an arm64 Python of the same Debian, and the locked wheels
of a device lie in $XDG_CACHE_HOME/edge-vision-toolkit/arm/. User emulation shows the host's /proc/cpuinfo, by which runtimes choose
kernels, so each core has a tree of its own with a Raspberry Pi's.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from toolkit import files, hashing
from toolkit.errors import MachineError
from toolkit.progress import create_progress
from toolkit.system import debian_packages
from toolkit.system.cache_dirs import cache_dir

ROOT = Path(__file__).parents[1]
GUEST, PLUGIN = Path(__file__).with_name("arm_guest.py"), Path(__file__).with_name("arm_count.c")
REQUIREMENTS = ROOT / "requirements/device.txt"
SUITE = "bookworm"
PACKAGES = {"arm64": ("python3", "libgomp1", "libstdc++6"), "amd64": ("qemu-user",)}
TIMEOUT_S = 7200


@dataclass(frozen=True)
class Core:
    """A core of Arm's, as /proc/cpuinfo and MIDR_EL1 describe it on a Raspberry Pi."""

    name: str
    part: int
    variant: int
    revision: int
    features: str

    @property
    def cpuinfo(self) -> str:
        """What /proc/cpuinfo shows of one processor."""
        fields = {
            "processor\t": "0",
            "BogoMIPS\t": "108.00",
            "Features\t": self.features,
            "CPU implementer\t": "0x41",
            "CPU architecture": "8",
            "CPU variant\t": f"0x{self.variant:x}",
            "CPU part\t": f"0x{self.part:03x}",
            "CPU revision\t": str(self.revision),
        }
        return "".join(f"{key}: {value}\n" for key, value in fields.items()) + "\n"

    @property
    def midr(self) -> str:
        """The register that identifies the core, as sysfs shows it."""
        return f"0x{0x41 << 24 | self.variant << 20 | 0xF << 16 | self.part << 4 | self.revision:016x}\n"


CORES = {
    core.name: core
    for core in (
        Core("cortex-a72", 0xD08, 0, 3, "fp asimd evtstrm crc32 cpuid"),
        Core(
            "cortex-a76", 0xD0B, 4, 1, "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm "
            "lrcpc dcpop asimddp",
        ),
    )
}  # fmt: skip

KINDS = {
    "sdot": ((0xBFE0FC00, 0x0E809400), (0xBFC0F400, 0x0F80E000)),
    "smlal": ((0xBF20FC00, 0x0E208000), (0xBF00F400, 0x0F002000), (0xBF20FC00, 0x0E20C000), (0xBF00F400, 0x0F00A000)),
    "fmla f32": ((0xBFA0FC00, 0x0E20CC00), (0xBF80F400, 0x0F801000)),
    "fmla f16": ((0xBFE0FC00, 0x0E400C00), (0xBFC0F400, 0x0F001000)),
}
"""The vector multiplications by which kernels differ, each by mask and value (Arm Architecture Reference Manual, C4.1)."""


@dataclass(frozen=True)
class Count:
    """One model on one core: instructions of an inference, or why there are none."""

    instructions: int = 0
    multiplications: dict[str, int] | None = None
    """Instructions of each kind in KINDS."""
    precision: str = ""
    version: str = ""
    kernels: tuple[tuple[str, str], ...] = ()
    """(layer, kernel) in the order of execution."""
    answer: tuple[float, ...] = ()
    failure: str = ""


def prepare() -> Path:
    """Return the folder with QEMU, the plugin, the wheels and a tree for each core, made the first time.

    Raises:
        MachineError: this is not Debian on x86-64, or packages cannot be downloaded.
    """
    key = hashing.sha256_json([PACKAGES, SUITE, [core.cpuinfo for core in CORES.values()]])
    key = hashing.sha256_json([key, hashing.sha256_file(REQUIREMENTS), hashing.sha256_file(PLUGIN)])[:16]
    folder = cache_dir("arm") / key
    if not folder.exists():
        debian_packages.check_programs((*debian_packages.PROGRAMS, "gcc"))
        folder.parent.mkdir(parents=True, exist_ok=True)
        with files.part_folder(folder.parent) as partial:
            _make(partial)
            (partial / "new").rename(folder)
    return folder


def _make(partial: Path) -> None:
    new = partial / "new"
    new.mkdir()
    for architecture, names in PACKAGES.items():
        create_progress().log(f"downloading {names[0]} for {architecture} and its dependencies from Debian 12")
        archive = debian_packages.Archive(partial / architecture, debian_packages.sources(SUITE), architecture)
        debian_packages.unpack(archive.download_closure(names), new / architecture)
    for core in CORES.values():
        tree = new / core.name
        shutil.copytree(new / "arm64", tree, symlinks=True, copy_function=os.link)
        _write(tree / "proc/cpuinfo", core.cpuinfo)
        processors = tree / "sys/devices/system/cpu"
        for name in ("possible", "present", "online", "kernel_max"):
            _write(processors / name, "0\n")
        _write(processors / "cpu0/regs/identification/midr_el1", core.midr)
    uv = Path(sys.executable).with_name("uv")
    options = ["--python-version", "3.11", "--python-platform", "aarch64-manylinux_2_36", "--only-binary", ":all:"]
    _run(uv, "pip", "install", "--quiet", "--target", new / "site", *options, "--require-hashes", "-r", REQUIREMENTS)
    _run("gcc", "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", new / "count.so", PLUGIN)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _run(*argv: str | Path) -> None:
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, check=False)
    if done.returncode:
        raise MachineError(f"{Path(argv[0]).name} fails: {done.stderr.strip()[-500:]}")


def count(
    lab: Path, core: str, model: Path, image: Path, precision: str | None, *, only_stored: bool = False
) -> Count | None:
    """Count a model's instructions on a core, or return the stored count of the same bytes.

    `precision` is the device code's: None leaves it to the runtime. With `only_stored`, nothing is counted: None if there is no
    stored count.
    """
    inputs = [model, *model.parent.glob("*.bin"), image, GUEST]
    key = hashing.sha256_json([lab.name, core, precision, *map(hashing.sha256_file, inputs)])
    stored = lab.parent / "counts" / f"{key}.json"
    if stored.exists():
        return _read(json.loads(stored.read_text(encoding="utf-8")))
    if only_stored:
        return None
    result = _count(lab, core, model, image, precision)
    stored.parent.mkdir(exist_ok=True)
    with files.atomic_write(stored) as stream:
        stream.write(json.dumps(_fields(result)).encode())
    return result


def _fields(result: Count) -> dict[str, Any]:
    return {name: getattr(result, name) for name in Count.__dataclass_fields__}


def _read(fields: dict[str, Any]) -> Count:
    pairs = tuple((layer, kernel) for layer, kernel in fields["kernels"])
    return Count(**fields | {"kernels": pairs, "answer": tuple(fields["answer"])})


def _count(lab: Path, core: str, model: Path, image: Path, precision: str | None) -> Count:
    with tempfile.TemporaryDirectory(prefix="bench-arm-") as folder:
        counts = Path(folder) / "count"
        argv = qemu(
            lab, "-cpu", core, "-L", lab / core, "-plugin", f"{lab / 'count.so'},to={counts}",
            lab / core / "usr/bin/python3.11", GUEST, model, image, *([precision] if precision else []),
        )  # fmt: skip
        environment = os.environ | {"PYTHONPATH": f"{lab / 'site'}:{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
        report = re.search(r"^REPORT (.*)$", done.stdout, re.MULTILINE)
        if done.returncode or not report:
            return Count(failure=_failure(done))
        once, twice = (multiply(Path(f"{counts}.{number}")) for number in (1, 2))
    difference = {kind: twice[kind] - once[kind] for kind in twice}
    total = difference.pop("")
    return replace(_read({**_fields(Count()), **_report(report)}), instructions=total, multiplications=difference)


def qemu(lab: Path, *arguments: str | Path) -> list[str]:
    """Return the command that starts QEMU by its own loader, so that it runs on other systems than its own too."""
    libraries = [lab / "amd64" / folder / "x86_64-linux-gnu" for folder in ("lib", "usr/lib")]
    start = [libraries[0] / "ld-linux-x86-64.so.2", "--inhibit-cache", "--library-path", ":".join(map(str, libraries))]
    return [str(word) for word in (*start, lab / "amd64/usr/bin/qemu-aarch64", *arguments)]


def _report(match: re.Match[str]) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(match.group(1))
    del fields["processor"], fields["clock_ns"]
    return fields


def _failure(done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode in (-signal.SIGILL, 128 + signal.SIGILL):
        return "illegal instruction"
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return lines[-1][-300:] if lines else f"exit code {done.returncode}"


def multiply(path: Path) -> Counter[str]:
    """Return the instructions that ran, by kind; "" is all of them. A line is "address runs words"."""
    result: Counter[str] = Counter()
    for line in path.read_text(encoding="ascii").splitlines():
        _, text, code = line.split()
        runs = int(text)
        result[""] += runs * (len(code) // 8)
        for start in range(0, len(code), 8):
            if kind := instruction_kind(int(code[start : start + 8], 16)):
                result[kind] += runs
    return result


def instruction_kind(word: int) -> str:
    """Return the kind in KINDS of an A64 instruction; empty for all others."""
    for kind, patterns in KINDS.items():
        if any(word & mask == value for mask, value in patterns):
            return kind
    return ""
