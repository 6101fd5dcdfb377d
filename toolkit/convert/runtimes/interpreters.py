"""Python interpreters for old OpenVINO releases: an installed one, else Debian 11's, unpacked into the cache."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from toolkit.convert.runtimes import bullseye_python
from toolkit.errors import MachineError
from toolkit.progress import Progress


def ensure_python(version: str, progress: Progress) -> Path:
    """An interpreter of that version ("3.9"): found, else made.

    Raises:
        MachineError: none is installed and none can be unpacked; says what to do.
    """
    python = find_python(version)
    if python is not None:
        return python
    try:
        return _made(version, progress)
    except MachineError as error:
        (problem, *_) = error.problems
        raise MachineError(
            f"this OpenVINO needs Python {version}, which is not installed and cannot be unpacked here: {problem.what}",
            remedy=f"{problem.remedy + '; or ' if problem.remedy else ''}install one (`pyenv install {version}`) and set "
            f"{_variable(version)} to it; or, where a container engine runs, `toolkit build legacy`",
        ) from None


def _made(version: str, progress: Progress) -> Path:
    if version != bullseye_python.VERSION:
        raise MachineError(f"only Python {bullseye_python.VERSION} can be unpacked")
    return bullseye_python.bullseye_python(progress)


def find_python(version: str) -> Path | None:
    """$TOOLKIT_PYTHON39, one on PATH, or pyenv's or uv's; None if there is none."""
    name = f"python{version}"
    candidates = [os.environ.get(_variable(version)), shutil.which(name)]
    candidates += sorted(map(str, Path.home().glob(f".pyenv/versions/{version}.*/bin/{name}")))
    candidates += sorted(map(str, Path.home().glob(f".local/share/uv/python/cpython-{version}.*/bin/{name}")))
    return next((Path(python) for python in candidates if python and _is_python(python, version)), None)


def _variable(version: str) -> str:
    return f"TOOLKIT_PYTHON{version.replace('.', '')}"


def _is_python(candidate: str, version: str) -> bool:
    """A shim of that name may stand for nothing: ask it."""
    argv = [candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    except OSError:
        return False
    return done.stdout.strip() == version
