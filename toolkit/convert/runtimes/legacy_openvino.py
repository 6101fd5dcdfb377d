"""Check that OpenVINO 2021.4 and 2022.3 give the same answers as the current release for the same IR.

Each generation runs in its own process, with the Python of its wheels and the same code as on devices
(`python -m toolkit.device golden`), in float32. Its wheels are pinned in compat.toml by SHA-256 and unpacked once.
Without that Python, it runs in the container image `legacy`, if `toolkit build legacy` has built it.
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
from toolkit import compat, files, hashing
from toolkit.compat import Generation, Target
from toolkit.convert import parity
from toolkit.convert.parity import Images
from toolkit.convert.runtimes import interpreters
from toolkit.device.layout import DEVICE_CODE, MANIFEST, ROOT
from toolkit.errors import MachineError
from toolkit.progress import Progress
from toolkit.system import wheel_cache
from toolkit.system.cache_dirs import cache_dir

TOLERANCE = {"fp32": 1e-4, "fp16": 1e-2, "int8": 5e-2}
"""How far a generation's probabilities may be from the current runtime's, on the same IR."""
TOP1_AGREEMENT = 0.995

_ROUGH = ("bf16", "f16")
_TIMEOUT_S = 1800
_PACKAGE_ROOT = Path(toolkit.__file__).parent.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How one generation's answers compare with the current runtime's."""

    generation: str
    openvino: str
    images: int
    max_abs: float
    top1_agreement: float
    tolerance: float
    precision: str = "f32"
    """What the generation computed in, by its own word: BF16 and FP16 would compare arithmetics, not runtimes."""
    failure: str = ""
    """The error of the runtime, if it could not answer at all."""

    @property
    def passed(self) -> bool:
        """Near enough, and the same classes."""
        near = self.max_abs <= self.tolerance and self.top1_agreement >= TOP1_AGREEMENT
        return not self.failure and near and self.precision not in _ROUGH


@dataclass(frozen=True, slots=True)
class LegacyWorker:
    """The device code on an older runtime: how it is started, in which environment, and what it calls the release there."""

    argv: tuple[str, ...]
    """FOLDER in them stands for the release's folder here."""
    environment: Mapping[str, str]
    release: str = ""


def legacy_generations(target: Target) -> tuple[Generation, ...]:
    """Return the generations that run models for `target` and have a worker."""
    return tuple(
        generation
        for generation in compat.known().generations.values()
        if generation.worker_wheels and target.container in generation.containers and target.opset <= generation.opset
    )


def compare(
    xml: Path, generation: Generation, precision: str, images: Images, progress: Progress, kind: str = "softmax"
) -> Agreement:
    """Let `generation` answer u8 [n,H,W,3] `images` with the IR at `xml`; `kind` is the manifest's of its output.

    Raises:
        MachineError: the generation cannot run here: another processor, no such Python, wheels that cannot be fetched.
    """
    worker = find_worker(generation, progress)
    with tempfile.TemporaryDirectory(prefix="legacy-") as folder:
        _fill(Path(folder), xml, images, TOLERANCE[precision], kind)
        result = _ask(worker, Path(folder))
    error = result.get("error")
    return Agreement(
        generation=generation.name,
        openvino=str(result.get("runtime", generation.versions[1])).removeprefix("OpenVINO "),
        images=len(images),
        max_abs=float(result.get("max_abs", np.inf)),
        top1_agreement=float(result.get("top1_agreement", 0.0)),
        tolerance=TOLERANCE[precision],
        precision=str(result.get("precision")),
        failure=str(error["what"]) if error else "",
    )


def prepare(generation: Generation, progress: Progress) -> Path:
    """The folder with the generation's packages, unpacked from its wheels the first time.

    Raises:
        MachineError: the wheels are for another machine, or cannot be fetched.
    """
    machine = (platform.system(), platform.machine())
    if machine != ("Linux", "x86_64"):
        raise MachineError(
            f"wheels of OpenVINO {generation.versions[1]} are for Linux on x86-64; this is {' on '.join(machine)}"
        )
    pins = [wheel_cache.Wheel(*pin) for pin in generation.worker_wheels]
    folder = cache_dir("legacy") / hashing.sha256_json([pin.sha256 for pin in pins])
    if not folder.exists():
        _unpack([wheel_cache.fetch_wheel(pin, progress) for pin in pins], folder)
    return folder


def _unpack(paths: list[Path], folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with files.part_folder(folder.parent) as partial:
        new = partial / "new"
        for path in paths:
            with zipfile.ZipFile(path) as archive:
                archive.extractall(new)
        try:
            new.rename(folder)
        except OSError:
            if not folder.exists():  # another process was first: its folder is the same
                raise


def _fill(folder: Path, xml: Path, images: Images, tolerance: float, kind: str) -> None:
    """What the device code checks: the model, the images, and the current runtime's answers as golden ones."""
    for suffix in (".xml", ".bin"):
        shutil.copyfile(xml.with_suffix(suffix), folder / f"model{suffix}")
    np.save(folder / "inputs.npy", images)
    np.save(folder / "outputs.npy", parity.predict(xml, [images]))
    golden = {"inputs": "inputs.npy", "outputs": "outputs.npy", "tolerance": {"CPU": tolerance}}
    manifest = {"golden": golden, "output": {"kind": kind}}
    (folder / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")


def find_worker(generation: Generation, progress: Progress) -> LegacyWorker:
    """How to run the device code with the generation's runtime here.

    Raises:
        MachineError: another processor, neither such a Python nor the generation's image, or wheels that cannot be fetched.
    """
    try:
        python = interpreters.ensure_python(generation.worker_python, progress)
    except MachineError:
        image = f"edge-vision/legacy:dev-{generation.name}"
        if not _has_image(image):
            raise
        return LegacyWorker(_docker(image), {"PATH": os.environ.get("PATH", "")}, "/release")
    environment = {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "PYTHONPATH": os.pathsep.join((str(prepare(generation, progress)), str(_PACKAGE_ROOT))),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONNOUSERSITE": "1",
    }
    return LegacyWorker((str(python), "-m", "toolkit.device"), environment)


def _has_image(image: str) -> bool:
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "image", "inspect", image], capture_output=True, check=False).returncode == 0


def _docker(image: str) -> tuple[str, ...]:
    """This toolkit's device code on the image's runtime; FOLDER stands for the release, which is mounted."""
    code = f"{_PACKAGE_ROOT / 'toolkit' / DEVICE_CODE}:{ROOT}/{DEVICE_CODE}:ro"
    user = f"{os.getuid()}:{os.getgid()}"
    confined = ("--rm", "--network=none", "--read-only", "--tmpfs=/tmp", "--user", user)
    return ("docker", "run", *confined, "--volume", code, "--volume", "FOLDER:/release:ro", image)


def _ask(worker: LegacyWorker, folder: Path) -> Mapping[str, Any]:
    argv = [word.replace("FOLDER", str(folder)) for word in worker.argv] + ["golden", worker.release or str(folder)]
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S, env=dict(worker.environment)
        )
        result: Mapping[str, Any] = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        return {"error": {"what": f"no answer within {_TIMEOUT_S} s"}}
    except ValueError:
        return {"error": {"what": f"ended with {done.returncode}: {done.stderr.strip()[-500:]}"}}
    return result
