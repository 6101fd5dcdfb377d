"""CPU limits of affinity masks and of both versions of cgroups."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.system import cpu_quota


@pytest.mark.parametrize(
    ("text", "limit"),
    [("max 100000\n", None), ("150000 100000\n", 1.5), ("50000 100000", 0.5), ("200000", 2.0)],
)
def test_limit_of_v2_is_quota_by_period_when_there_is_one(text: str, limit: float | None) -> None:
    assert cpu_quota.parse_cpu_max(text) == limit


@pytest.mark.parametrize(
    ("quota", "period", "limit"), [("-1\n", "100000\n", None), ("0", "100000", None), ("400000\n", "100000\n", 4.0)]
)
def test_limit_of_v1_is_quota_by_period_when_there_is_one(quota: str, period: str, limit: float | None) -> None:
    assert cpu_quota.parse_cfs_quota(quota, period) == limit


@given(st.integers(1, 512), st.lists(st.floats(0.01, 1024)))
def test_within_is_whole_and_never_more_than_any_limit_needs(count: int, limits: list[float]) -> None:
    result = cpu_quota.cap_cpus(count, limits)
    assert 1 <= result <= count
    assert all(result < limit + 1 for limit in limits)
    assert result == count or any(result >= limit for limit in limits)


def test_cgroup_limits_include_enclosing_cgroups(tmp_path: Path) -> None:
    own = write(tmp_path / "own", "0::/machine.slice/box/inner\n")
    write(tmp_path / "mounts/machine.slice/cpu.max", "300000 100000\n")
    write(tmp_path / "mounts/machine.slice/box/cpu.max", "max 100000\n")
    write(tmp_path / "mounts/machine.slice/box/inner/cpu.max", "800000 100000\n")
    assert sorted(cpu_quota.cgroup_limits(own, tmp_path / "mounts")) == [3.0, 8.0]


def test_limits_are_the_mounts_own_when_the_path_is_the_hosts(tmp_path: Path) -> None:
    """Docker with version 1 and no namespace of cgroups: the path is the host's, the mount is the container's."""
    own = write(
        tmp_path / "own", "11:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n0::/\n"
    )
    write(tmp_path / "mounts/cpu,cpuacct/cpu.cfs_quota_us", "250000\n")
    write(tmp_path / "mounts/cpu,cpuacct/cpu.cfs_period_us", "100000\n")
    write(tmp_path / "mounts/memory/cpu.cfs_quota_us", "1\n")
    assert cpu_quota.cgroup_limits(own, tmp_path / "mounts") == (2.5,)


def test_limits_are_none_when_the_kernel_shows_nothing(tmp_path: Path) -> None:
    assert cpu_quota.cgroup_limits(tmp_path / "missing", tmp_path) == ()
    own = write(tmp_path / "own", "0::/../../elsewhere\n")
    write(tmp_path / "mounts/cpu.max", "not a number\n")
    assert cpu_quota.cgroup_limits(own, tmp_path / "mounts") == ()


def test_usable_cpus_is_the_masks_when_it_is_narrower() -> None:
    mask = {min(os.sched_getaffinity(0))}
    done = subprocess.run(
        [sys.executable, "-c", "from toolkit.system.cpu_quota import available_cpus; print(available_cpus())"],
        preexec_fn=lambda: os.sched_setaffinity(0, mask),
        capture_output=True,
        check=True,
    )
    assert done.stdout == b"1\n"


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path
