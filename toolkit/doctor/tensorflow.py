"""Which builds of TensorFlow are here, what the processor offers them, and whether it was measured."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from toolkit.doctor.finding import Check, Finding, Place, bad, care, good
from toolkit.experiment import compute_profiles

WHEELS = ("tensorflow_cpu", "tensorflow", "intel_tensorflow")
CAPABLE = ("avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16")
OTHER = Path(".venv-mkl/bin/python")


def look(place: Place) -> Iterator[Finding]:
    """The stock build, the MKL/OpenMP build beside it, and this machine's profiles."""
    found = [f"{name} {version}" for name in WHEELS if (version := _version(name))]
    if not found:
        yield bad(
            "no TensorFlow: nothing can be trained or judged", "just setup, or pip install 'edge-vision-toolkit[train]'"
        )
        return
    yield good(f"{', '.join(found)}; the processor has {', '.join(_flags()) or 'none of the faster instructions'}")
    if "intel_tensorflow" not in " ".join(found) and not OTHER.exists():
        yield care("the MKL/OpenMP build is not here, so `toolkit tune` measures the stock one alone", "just setup-mkl")
    tuned = sorted(
        path.stem for path in (place.workspace.root / "profiles" / compute_profiles.machine()).glob("*.json")
    )
    if tuned:
        yield good(f"tuned on this machine for {', '.join(tuned)}")
    else:
        yield care(
            "no network was tuned on this machine: it trains under TensorFlow's own choices",
            "toolkit tune EXPERIMENT.toml",
        )


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _flags() -> list[str]:
    """Of /proc/cpuinfo those that matter."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    listed = re.search(r"^(?:flags|Features)\s*: (.*)$", text, re.MULTILINE)
    return [flag for flag in CAPABLE if listed and flag in listed[1].split()]


CHECK = Check("tensorflow", "training", look)
