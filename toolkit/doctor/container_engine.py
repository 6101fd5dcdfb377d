"""A container engine with buildx, and emulation for the other architecture."""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from toolkit.doctor.finding import Check, Finding, Place, care, good

BINFMT = Path("/proc/sys/fs/binfmt_misc")
EMULATORS = {"aarch64": "qemu-aarch64", "x86_64": "qemu-x86_64"}
TIMEOUT_S = 20


def look(place: Place) -> Iterator[Finding]:
    """All of it optional: `just build` and `toolkit train --in-container` need it, the line does not."""
    del place
    version = _said("docker", "version", "--format", "{{.Server.Version}}")
    if version is None:
        why = "docker is not installed" if shutil.which("docker") is None else "no engine answers"
        yield care(f"{why}: container images cannot be built or run", "in a checkout, as root: just engine up")
        return
    yield good(f"Docker Engine {version}")
    buildx = _said("docker", "buildx", "version")
    yield good(f"buildx {buildx.split()[1]}") if buildx else care("docker has no buildx", "install docker-buildx")
    yield _emulation()


def _emulation() -> Finding:
    """Of the architecture that this machine is not."""
    other = "x86_64" if platform.machine() == "aarch64" else "aarch64"
    if (BINFMT / EMULATORS[other]).exists():
        return good(f"{other} is emulated: its container images can be run here")
    remedy = "as root: apt-get install qemu-user-static binfmt-support, then update-binfmts --enable"
    return care(f"{other} is not emulated: its container images are built but not run here", remedy)


def _said(*words: str) -> str | None:
    """What a command prints, or None if it fails or is not there."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


CHECK = Check("engine", "container_images", look)
