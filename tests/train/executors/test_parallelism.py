from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.experiment.load import load_experiment, shipped_experiment
from toolkit.train.executors.parallelism import BASE_BYTES, available_bytes, max_parallel_trials, needed_bytes

GB = 10**9


@pytest.mark.parametrize(
    ("trials", "cpus", "memory_gb", "count"),
    [
        (6, 2, 64, 1),  # a small machine
        (6, 16, 64, 4),  # CPUs are the limit
        (6, 64, 20, 2),  # memory is
        (3, 64, 640, 3),  # no more than there are
        (6, 64, 1, 1),  # too little for one: it is tried
    ],
)
def test_side_by_side_is_what_memory_and_cpus_allow(trials: int, cpus: int, memory_gb: int, count: int) -> None:
    result = max_parallel_trials(
        trials, cpus=cpus, cpus_per_trial=4, available_bytes=memory_gb * GB, needed_bytes=10 * GB
    )
    assert result == count


def test_available_bytes_is_the_machines_when_there_is_no_limit(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:  9000 kB\nMemAvailable:   2000 kB\n")
    assert available_bytes(meminfo, tmp_path) == 2000 * 1024
    (tmp_path / "memory.max").write_text("max\n")
    assert available_bytes(meminfo, tmp_path) == 2000 * 1024


@pytest.mark.parametrize(
    ("limit", "held"), [("memory.max", "memory.stat"), ("memory/memory.limit_in_bytes", "memory/memory.stat")]
)
def test_available_bytes_is_the_containers_when_it_is_less(tmp_path: Path, limit: str, held: str) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemAvailable:   2000 kB\n")
    (tmp_path / limit).parent.mkdir(exist_ok=True)
    (tmp_path / limit).write_text("1000000\n")
    (tmp_path / held).write_text("anon 300000\nfile 500000\ntotal_rss 300000\n")
    assert available_bytes(meminfo, tmp_path) == 700_000


def test_needed_bytes_grows_with_the_batch_and_the_image() -> None:
    small, large = (load_experiment(shipped_experiment(name)) for name in ("demo", "face-mask"))
    needed = [max(needed_bytes(own, trial) for trial in own.trials()) for own in (small, large)]
    assert BASE_BYTES < needed[0] < needed[1] < 64 * GB
