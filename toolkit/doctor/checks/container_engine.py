"""A container engine with buildx, and emulation for the other architecture."""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from toolkit.doctor.finding import Check, Finding, Place, good, warning

BINFMT = Path("/proc/sys/fs/binfmt_misc")
EMULATORS = {"aarch64": "qemu-aarch64", "x86_64": "qemu-x86_64"}
TIMEOUT_S = 20


def check(place: Place) -> Iterator[Finding]:
    """Check what `toolkit build` and `toolkit train --in-container` need; the pipeline does not."""
    del place
    version = _output("docker", "version", "--format", "{{.Server.Version}}")
    if version is None:
        why = "docker is not installed" if shutil.which("docker") is None else "no container engine answers"
        yield warning(f"{why}: container images cannot be built or run", "in a checkout, as root: just engine up")
        return
    yield good(f"Docker Engine {version}")
    buildx = _output("docker", "buildx", "version")
    yield good(f"buildx {buildx.split()[1]}") if buildx else warning("docker has no buildx", "install docker-buildx")
    yield _emulation()


def _emulation() -> Finding:
    """Return whether the other architecture is emulated."""
    other = "x86_64" if platform.machine() == "aarch64" else "aarch64"
    if (BINFMT / EMULATORS[other]).exists():
        return good(f"{other} is emulated: its container images run here")
    remedy = "as root: apt-get install qemu-user-static binfmt-support, then update-binfmts --enable"
    return warning(f"{other} is not emulated: its container images are built but do not run here", remedy)


def _output(*argv: str) -> str | None:
    """Return what a command prints, or None if it fails or is missing."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


CHECK = Check("engine", "container images", check)
