"""The TensorFlow builds, the processor's instructions, and the compute profiles."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from toolkit.doctor.finding import Check, Finding, Place, bad, good, warning
from toolkit.experiment import compute_profiles
from toolkit.networks import tf_compat

WHEELS = ("tensorflow_cpu", "tensorflow", "intel_tensorflow")
CAPABLE = ("avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16")


def check(place: Place) -> Iterator[Finding]:
    """Check the stock build, the MKL/OpenMP build and this machine's profiles."""
    builds = [f"{name} {version}" for name in WHEELS if (version := _version(name))]
    if not builds:
        yield bad(
            "TensorFlow is missing, so nothing can be trained or evaluated",
            "just setup, or pip install 'edge-vision-toolkit[train]'",
        )
        return
    yield good(f"{', '.join(builds)}; the processor has {', '.join(_flags()) or 'none of the faster instruction sets'}")
    if "intel_tensorflow" not in " ".join(builds) and not tf_compat.MKL_PYTHON.exists():
        yield warning(
            "the MKL/OpenMP build is missing, so `toolkit tune` measures the stock build only", "just setup-mkl"
        )
    tuned = sorted(
        path.stem for path in (place.workspace.root / "profiles" / compute_profiles.machine_id()).glob("*.json")
    )
    if tuned:
        yield good(f"compute profiles on this machine: {', '.join(tuned)}")
    else:
        yield warning(
            "no compute profile on this machine, so networks train with TensorFlow's defaults",
            "toolkit tune EXPERIMENT.toml",
        )


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _flags() -> list[str]:
    """Return the relevant flags of /proc/cpuinfo."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    match = re.search(r"^(?:flags|Features)\s*: (.*)$", text, re.MULTILINE)
    return [flag for flag in CAPABLE if match and flag in match[1].split()]


CHECK = Check("tensorflow", "training", check)
