"""The number of CPUs that this process may use: those of its affinity mask, or fewer if a cgroup limits CPU time.

A cgroup's limit is CPU time in a period: 150,000 µs in 100,000 µs are one and a half CPUs, which two threads can use. The
limits of the cgroups around it hold as well.

    version 2   cpu.max                                 "150000 100000", or "max 100000"
    version 1   cpu.cfs_quota_us, cpu.cfs_period_us     "150000", "100000"; a quota of -1 is none
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

_MOUNTS = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


def available_cpus() -> int:
    """How many CPUs this process may run on; taskset narrows it, and so do containers."""
    if hasattr(os, "sched_getaffinity"):
        return cap_cpus(len(os.sched_getaffinity(0)), cgroup_limits())
    return os.cpu_count() or 1


def cap_cpus(cpus: int, limits: Iterable[float]) -> int:
    """Whole CPUs, at least one, that the smallest limit leaves of `cpus`."""
    return max(1, min([cpus, *(math.ceil(limit) for limit in limits)]))


@functools.cache
def cgroup_limits(own: Path = _OWN, mounts: Path = _MOUNTS) -> tuple[float, ...]:
    """The limits of this process's cgroup and of those around it, in CPUs.

    Args:
        own: The file that names its cgroups, one a line: number, controllers, path.
        mounts: Where the kernel shows them. In a container that may be the container's own cgroup alone, by no path.
    """
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        return ()
    limits = [_limit(folder) for line in lines for folder in _folders(line, mounts)]
    return tuple(limit for limit in limits if limit is not None)


def parse_cpu_max(text: str) -> float | None:
    """What a cpu.max allows, in CPUs; None: as many as there are."""
    quota, _, period = text.strip().partition(" ")
    return None if quota == "max" else int(quota) / int(period or 100_000)


def parse_cfs_quota(quota: str, period: str) -> float | None:
    """What a quota and its period, both in µs, allow, in CPUs; None: as many as there are."""
    return int(quota) / int(period) if int(quota) > 0 else None


def _folders(line: str, mounts: Path) -> Iterator[Path]:
    """The cgroup that a line of /proc/self/cgroup names and those around it, where its CPU limits are to be found."""
    number, controllers, path = line.split(":", 2)
    if number != "0" and "cpu" not in controllers.split(","):
        return
    root = mounts / controllers if number != "0" else mounts
    place = PurePosixPath(path.lstrip("/"))
    yield from (root / around for around in (place, *place.parents) if ".." not in around.parts)


def _limit(folder: Path) -> float | None:
    try:
        if (folder / "cpu.max").exists():
            return parse_cpu_max((folder / "cpu.max").read_text(encoding="ascii"))
        period = (folder / "cpu.cfs_period_us").read_text(encoding="ascii")
        return parse_cfs_quota((folder / "cpu.cfs_quota_us").read_text(encoding="ascii"), period)
    except (OSError, ValueError, ZeroDivisionError):
        return None
