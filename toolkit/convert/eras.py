"""The same IR in older runtimes: do OpenVINO 2021.4 and 2022.3 answer as the current one does?

Each era runs in a process of its own, on the Python that its wheels are made for, through the very code that runs on
devices (`python -m toolkit.device golden`), in float32. Its wheels are pinned in compat.toml by SHA-256 and unpacked once.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import toolkit
from toolkit import compat, digests, wheels
from toolkit.compat import Era, Target
from toolkit.convert import parity
from toolkit.convert.parity import Pictures
from toolkit.errors import MachineError
from toolkit.progress import Progress

TOLERANCE = {"fp32": 1e-4, "fp16": 1e-2}
"""How far an era's probabilities may be from the current runtime's, on the same IR."""
TOP1_AGREEMENT = 0.995

_TIMEOUT_S = 1800


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How one era's answers compare with the current runtime's."""

    era: str
    openvino: str
    pictures: int
    max_abs: float
    top1_agreement: float
    tolerance: float
    failure: str = ""
    """What the era said when it could not answer at all."""

    @property
    def passed(self) -> bool:
        """Near enough, and the same classes."""
        return not self.failure and self.max_abs <= self.tolerance and self.top1_agreement >= TOP1_AGREEMENT


def eras_of(target: Target) -> tuple[Era, ...]:
    """Those with a worker that should read what is written for `target`."""
    return tuple(
        era
        for era in compat.known().eras.values()
        if era.worker_wheels and target.container in era.containers and target.opset <= era.opset
    )


def compare(xml: Path, era: Era, precision: str, pictures: Pictures, progress: Progress) -> Agreement:
    """Let `era` answer u8 [n,H,W,3] `pictures` with the IR at `xml`.

    Raises:
        MachineError: the era cannot run here: another processor, no such Python, wheels that cannot be fetched.
    """
    python = find_python(era.worker_python)
    packages = prepare(era, progress)
    with tempfile.TemporaryDirectory(prefix="era-") as folder:
        _fill(Path(folder), xml, pictures, TOLERANCE[precision])
        found = _ask(python, packages, Path(folder))
    error = found.get("error")
    return Agreement(
        era=era.name,
        openvino=str(found.get("openvino", era.versions[1])),
        pictures=len(pictures),
        max_abs=float(found.get("max_abs", np.inf)),
        top1_agreement=float(found.get("top1_agreement", 0.0)),
        tolerance=TOLERANCE[precision],
        failure=str(error["what"]) if error else "",
    )


def find_python(version: str) -> Path:
    """An interpreter of that version ("3.9"): $TOOLKIT_PYTHON39, one on PATH, or pyenv's or uv's.

    Raises:
        MachineError: there is none.
    """
    name = f"python{version}"
    variable = f"TOOLKIT_PYTHON{version.replace('.', '')}"
    candidates = [os.environ.get(variable), shutil.which(name)]
    candidates += sorted(map(str, Path.home().glob(f".pyenv/versions/{version}.*/bin/{name}")))
    candidates += sorted(map(str, Path.home().glob(f".local/share/uv/python/cpython-{version}.*/bin/{name}")))
    for candidate in candidates:
        if candidate and _is_python(candidate, version):
            return Path(candidate)
    raise MachineError(
        f"no Python {version} was found, which OpenVINO of that era needs",
        remedy=f"`uv python install {version}`, or set {variable} to an interpreter",
    )


def _is_python(candidate: str, version: str) -> bool:
    """A shim of that name may stand for nothing: ask it."""
    words = [candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    except OSError:
        return False
    return done.stdout.strip() == version


def prepare(era: Era, progress: Progress) -> Path:
    """The folder with the era's packages, unpacked from its wheels the first time.

    Raises:
        MachineError: the wheels are for another machine, or cannot be fetched.
    """
    machine = (platform.system(), platform.machine())
    if machine != ("Linux", "x86_64"):
        raise MachineError(
            f"wheels of OpenVINO {era.versions[1]} are for Linux on x86-64; this is {' on '.join(machine)}"
        )
    pins = [wheels.Wheel(*pin) for pin in era.worker_wheels]
    folder = wheels.cache_folder().parent / "eras" / digests.of_value([pin.sha256 for pin in pins])
    if not folder.exists():
        _unpack([wheels.fetch_wheel(pin, progress) for pin in pins], folder)
    return folder


def _unpack(paths: list[Path], folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".part-", dir=folder.parent) as beside:
        new = Path(beside) / "new"
        for path in paths:
            with zipfile.ZipFile(path) as archive:
                archive.extractall(new)
        try:
            new.rename(folder)
        except OSError:
            if not folder.exists():  # another process was first: its folder is the same
                raise


def _fill(folder: Path, xml: Path, pictures: Pictures, tolerance: float) -> None:
    """What the device code checks: the model, the pictures, and the current runtime's answers as golden ones."""
    for suffix in (".xml", ".bin"):
        (folder / f"model{suffix}").symlink_to(xml.with_suffix(suffix).resolve())
    np.save(folder / "inputs.npy", pictures)
    np.save(folder / "outputs.npy", parity.run(xml, [pictures]))
    golden = {"inputs": "inputs.npy", "outputs": "outputs.npy", "tolerance": {"CPU": tolerance}}
    (folder / "manifest.json").write_text(json.dumps({"golden": golden}), encoding="utf-8")


def _ask(python: Path, packages: Path, folder: Path) -> Mapping[str, Any]:
    house = Path(toolkit.__file__).parent.parent
    environment = {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "PYTHONPATH": os.pathsep.join((str(packages), str(house))),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONNOUSERSITE": "1",
    }
    words = [str(python), "-m", "toolkit.device", "golden", str(folder)]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S, env=environment)
        found: Mapping[str, Any] = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        return {"error": {"what": f"no answer within {_TIMEOUT_S} s"}}
    except ValueError:
        return {"error": {"what": f"ended with {done.returncode}: {done.stderr.strip()[-500:]}"}}
    return found
