"""Search space of `toolkit tune`: a few settings that matter on some machines, defaults first."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit.experiment.compute_profiles import ComputePrecision, ComputeProfile
from toolkit.networks import tf_compat
from toolkit.system.cpu_quota import available_cpus

_ALLOCATORS = ("libjemalloc.so.2", "libtcmalloc_minimal.so.4", "libtcmalloc.so.4")


@dataclass(frozen=True, slots=True)
class Build:
    """A Python interpreter with a TensorFlow build; `python` is None for the running interpreter."""

    python: Path | None
    mkl: bool

    @property
    def name(self) -> str:
        """For people."""
        return "mkl" if self.mkl else "stock"


def machine_candidates(named: Path | None = None) -> tuple[ComputeProfile, ...]:
    """Return the candidates for this machine."""
    return candidates(builds_here(named), available_cpus(), allocators_here())


def interpreter_candidates() -> tuple[ComputeProfile, ...]:
    """Return the candidates for this interpreter."""
    return candidates((_own_build(),), available_cpus(), allocators_here())


def builds_here(named: Path | None = None) -> tuple[Build, ...]:
    """This interpreter's, and that of `named` or else of the environments beside the toolkit.

    An interpreter without TensorFlow or without the toolkit is left out.
    """
    checkout = Path(__file__).parents[3]
    places = [named] if named else [checkout / ".venv/bin/python", checkout / tf_compat.MKL_PYTHON]
    # By the environment, not the interpreter, which is a link to the same one in all of them.
    others = [place for place in places if place.exists() and place.parents[1].resolve() != Path(sys.prefix).resolve()]
    return (_own_build(), *(Build(place, mkl) for place in others if (mkl := tf_compat.has_mkl(place)) is not None))


def _own_build() -> Build:
    return Build(None, mkl=tf_compat.is_mkl())


def candidates(builds: Sequence[Build], cpus: int, allocators: Iterable[Path] = ()) -> tuple[ComputeProfile, ...]:
    """Return the candidates, interleaving the builds, so that the least promising ones come last."""
    rows = [list(_of_build(build, cpus, tuple(allocators))) for build in builds]
    longest = max(map(len, rows), default=0)
    return tuple(row[place] for place in range(longest) for row in rows if place < len(row))


def _of_build(build: Build, cpus: int, allocators: tuple[Path, ...]) -> Iterator[ComputeProfile]:
    def profile(name: str, threads: int, inter_op: int, **environment: str) -> ComputeProfile:
        return ComputeProfile(
            name=f"{build.name}: {name}",
            python=build.python,
            environment=environment,
            intra_op=threads,
            inter_op=inter_op,
        )

    def openmp(threads: int) -> dict[str, str]:
        return tf_compat.openmp(threads) if build.mkl else {}

    yield profile("all CPUs", cpus, 1, **openmp(cpus))
    for path in allocators:
        allocator = path.name.removeprefix("lib").partition(".")[0]
        yield profile(f"all CPUs, {allocator}", cpus, 1, **openmp(cpus), LD_PRELOAD=str(path))
    if build.mkl:
        for name, environment in tf_compat.openmp_variants(cpus):
            yield profile(f"all CPUs, {name}", cpus, 1, **environment)
    yield profile("all CPUs, two operations at once", cpus, 2, **openmp(cpus))
    if cpus >= 4:
        yield profile("half the CPUs", cpus // 2, 1, **openmp(cpus // 2))
    if not build.mkl:
        yield profile("all CPUs, without oneDNN", cpus, 1, TF_ENABLE_ONEDNN_OPTS="0")


def allocators_here(roots: Iterable[Path] = (Path("/usr/lib"), Path("/usr/local/lib"))) -> tuple[Path, ...]:
    """Return memory allocators that can replace the C library's, the first of each name."""
    pythons: dict[str, Path] = {}
    for root in roots:
        for name in _ALLOCATORS:
            for path in (*root.glob(name), *root.glob(f"*-linux-gnu*/{name}")):
                pythons.setdefault(name.partition(".")[0].partition("_")[0], path)
    return tuple(pythons.values())


def precision_here() -> ComputePrecision:
    """Return the reduced precision worth trying on this machine, else float32."""
    try:
        return faster_precision(Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    except OSError:
        return "float32"


def faster_precision(cpuinfo: str) -> ComputePrecision:
    """Return the reduced precision that the processor has instructions for, from /proc/cpuinfo."""
    flags = re.search(r"^flags\s*:(.*)$", cpuinfo, re.MULTILINE)
    has = set(flags[1].split()) if flags else set()
    return "bfloat16" if has & {"avx512_bf16", "amx_bf16"} else "float32"
