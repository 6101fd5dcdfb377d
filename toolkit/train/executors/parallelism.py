"""The number of trials that can run in parallel on this machine, by memory and CPUs; at least one."""

from __future__ import annotations

from pathlib import Path

from toolkit import networks
from toolkit.errors import ToolkitError
from toolkit.experiment.schema import Experiment
from toolkit.experiment.training_schema import Trial

CPUS_PER_TRIAL = 4
"""Two trials on eight CPUs each are done sooner than one after the other on all; on fewer they are not."""
BASE_BYTES = 1_500_000_000
"""TensorFlow, the network's weights with the optimizer's, and the pages of its images."""
BYTES_PER_PIXEL = 6_000
"""What fine-tuning keeps of an image, by the pixel: activations and their gradients. An upper bound for all networks here."""
OUT_OF_MEMORY_REMEDY = (
    "lower train.batch_size or the network's input_size, or run fewer trials at once; finished work is saved"
)
"""What to do when memory runs out."""
_CGROUPS = Path("/sys/fs/cgroup")
_PLENTY = 1 << 50
"""More than any machine has: the value for "no limit"."""


def max_parallel_trials(trials: int, *, cpus: int, cpus_per_trial: int, available_bytes: int, needed_bytes: int) -> int:
    """How many of `trials` at once, at least one; `needed_bytes` is of the largest."""
    return max(1, min(trials, cpus // max(1, cpus_per_trial), available_bytes // max(1, needed_bytes)))


def needed_bytes(experiment: Experiment, trial: Trial) -> int:
    """An upper bound of what training it takes, so that nothing is killed for want of memory."""
    try:
        edge = trial.input_size or networks.resolve_network(experiment, trial.network).input_size
    except ToolkitError:
        edge = 0  # a network that is not there, which the trial itself will say
    return BASE_BYTES + trial.batch_size * edge * edge * BYTES_PER_PIXEL


def available_bytes(meminfo: Path = Path("/proc/meminfo"), cgroups: Path = _CGROUPS) -> int:
    """What this machine can still give, or the container around this process: its limit less what its processes hold."""
    version_2 = _number(cgroups / "memory.max", "") - _number(cgroups / "memory.stat", "anon ", 0)
    folder = cgroups / "memory"
    version_1 = _number(folder / "memory.limit_in_bytes", "") - _number(folder / "memory.stat", "total_rss ", 0)
    return max(0, min(_number(meminfo, "MemAvailable:"), version_2, version_1))


def _number(file: Path, key: str, missing: int = _PLENTY) -> int:
    """The bytes on the file's line that begins with `key`; `missing` without such a file, line or number ("max")."""
    try:
        lines = file.read_text(encoding="ascii").splitlines()
    except OSError:
        return missing
    fields = next((line.removeprefix(key).split() for line in lines if line.startswith(key)), [])
    if not fields or not fields[0].isdecimal():
        return missing
    return int(fields[0]) * (1024 if fields[1:] == ["kB"] else 1)
