"""Find the settings that train a network fastest on this machine, within a time limit.

Each candidate has its own process. Candidates start one after the other, and the slowest is dropped whenever more than a few
run. The remaining ones run in turns, and each round drops the slower half (successive halving). Most of the time is therefore
spent on close comparisons, and other load on the machine affects all candidates alike. A candidate must be at least 3 %
faster than the default to be chosen.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from typing import Any

from toolkit.errors import MachineError
from toolkit.experiment.compute_profiles import ComputePrecision, ComputeProfile
from toolkit.progress import Progress
from toolkit.train.tuning.process import OUT_OF_TIME, BenchmarkProcess, Measurement
from toolkit.train.tuning.worker import Workload

LIMIT_S = 160.0
"""Default time limit of the search."""
STEP_S = 0.8
"""Upper bound of a step's duration; batches are sized accordingly."""
INTERVAL_S = 2.0
AT_ONCE = 4
"""Limit on parallel processes, because of memory."""
BETTER = 1.03
_FOR_CANDIDATES, _FOR_ROUNDS = 0.6, 0.8
"""Shares of the time limit after which no candidate and no round is started; the rest is for the advice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """The result; rates are images/s."""

    chosen: Measurement
    measured: tuple[Measurement, ...]
    """All candidates, fastest first; failed and unmeasured ones last."""
    step: int
    """Batch size of the measured steps."""
    batches: dict[int, float]
    """Rates of the chosen candidate with other batch sizes."""
    other: Measurement | None
    """The chosen candidate in the reduced precision that the processor supports."""

    def profile(self, name: str) -> ComputeProfile:
        """Return the profile for `train`: the chosen settings, and advice on options that change results."""
        faster = self.other is not None and self.other.rate > BETTER * self.chosen.rate
        return replace(
            self.chosen.profile,
            name=name,
            batch_size=max(self.batches, key=lambda size: self.batches[size], default=None),
            precision="bfloat16" if faster else "float32",
        )

    def to_json(self) -> dict[str, Any]:
        """Return the reasons for the choice, as JSON."""
        rows = [asdict(one) | {"rate": one.rate, "spread": one.spread} for one in (*self.measured, self.other) if one]
        for row in rows:
            row["profile"]["python"] = str(row["profile"]["python"] or "")
        return {"step": self.step, "candidates": rows, "batches": self.batches, "chosen": self.chosen.profile.name}


def tune(
    workload: Workload,
    profiles: Sequence[ComputeProfile],
    progress: Progress,
    *,
    precision: ComputePrecision = "float32",
    limit_s: float = LIMIT_S,
) -> Tuned:
    """Try the profiles on `piece`; `precision` is one to measure besides.

    Raises:
        MachineError: none of them could train it.
    """
    began = time.monotonic()
    end = began + limit_s
    with ExitStack() as stack:
        pool = _Pool(workload, stack, progress)
        for profile in profiles:
            pool.invite(profile, end if not pool.processes else began + _FOR_CANDIDATES * limit_s)
        while len(pool.processes) > 1 and time.monotonic() < began + _FOR_ROUNDS * limit_s:
            pool.round(end)
        chosen = choose([one for one in pool.measured if one.rates])
        if chosen is None:
            reasons = "; ".join(f"{one.profile.name}: {one.failure}" for one in pool.measured)
            raise MachineError(
                f"no candidate trained {workload.network}: {reasons}",
                remedy="give it more --seconds, or wait until the machine is less busy",
            )
        batches = pool.batches(chosen, end)
        other = pool.in_precision(chosen, precision, end) if precision != workload.precision else None
    return Tuned(
        chosen=chosen,
        measured=tuple(sorted(pool.measured, key=lambda one: -one.rate)),
        step=pool.step,
        batches=batches,
        other=other,
    )


def choose(measured: Sequence[Measurement]) -> Measurement | None:
    """Return the fastest candidate, or the first that is not clearly slower; candidates are ordered from plain to special."""
    best = max((one.rate for one in measured), default=0.0)
    return next((one for one in measured if one.rate * BETTER >= best), None)


def keep_fastest_half(measured: Sequence[Measurement]) -> list[Measurement]:
    """Return the faster half, rounded up, in the original order."""
    fastest = sorted(measured, key=lambda one: -one.rate)[: (len(measured) + 1) // 2]
    return [one for one in measured if any(one is other for other in fastest)]


def step_for(rate: float, batch_size: int) -> int:
    """Return the batch size of measured steps, from the rate with single images."""
    return max(2, min(batch_size, int(rate * STEP_S)))


class _Pool:
    """The running candidates, and the measurements of all candidates so far."""

    def __init__(self, workload: Workload, stack: ExitStack, progress: Progress) -> None:
        self.workload, self.step = workload, 0
        self.processes: list[BenchmarkProcess] = []
        self.measured: list[Measurement] = []
        self._stack, self._progress = stack, progress

    def invite(self, profile: ComputeProfile, end: float) -> None:
        """Start another candidate, and drop the slowest if there are too many."""
        if time.monotonic() > end:
            self.measured.append(Measurement(profile, failure=OUT_OF_TIME))
            return
        process = self._begin(profile, self.workload, end)
        self.measured.append(process.measured)
        if process.measured.rates:
            self.processes.append(process)
        if len(self.processes) > AT_ONCE:
            self._leave(min(self.processes, key=lambda one: one.measured.rate))

    def round(self, end: float) -> None:
        """Measure each candidate once, then drop the slower half."""
        for process in self.processes:
            process.measure(self.step, INTERVAL_S, end)
        stay = keep_fastest_half([one.measured for one in self.processes])
        for process in list(self.processes):
            if not any(process.measured is one for one in stay):
                self._leave(process)

    def batches(self, chosen: Measurement, end: float) -> dict[int, float]:
        """Measure the chosen candidate with batch sizes around the workload's own, as time permits."""
        process = next((one for one in self.processes if one.measured is chosen), None)
        own, means = self.workload.batch_size, dict[int, float]()
        for size in (own // 4, own // 2, own, own * 2):
            needed = 4 * size / chosen.rate
            if process and size > 1 and time.monotonic() + needed < end - 30:
                rates = process.measure(size, 0.0, end)
                means |= {size: sum(rates) / len(rates)} if rates else {}
        return means

    def in_precision(self, chosen: Measurement, precision: ComputePrecision, end: float) -> Measurement:
        """Measure the chosen settings in another precision."""
        for process in list(self.processes):
            self._leave(process)
        profile = replace(chosen.profile, name=f"{chosen.profile.name}, {precision}")
        if time.monotonic() > end:
            return Measurement(profile, failure=OUT_OF_TIME)
        return self._begin(profile, replace(self.workload, precision=precision), end).measured

    def _begin(self, profile: ComputeProfile, workload: Workload, end: float) -> BenchmarkProcess:
        process = self._stack.enter_context(BenchmarkProcess(profile, workload))
        if process.start(end):
            if not self.step:
                self.step = step_for(max(process.measure(4, 0.0, end), default=0.0), workload.batch_size)
                process.measured.rates.clear()
            process.measure(self.step, INTERVAL_S, end)
        own = process.measured
        self._progress.log(f"  {profile.name}: {own.failure or f'{own.rate:.1f} images/s'}")
        if not own.rates:
            process.end()
        return process

    def _leave(self, process: BenchmarkProcess) -> None:
        process.end()
        self.processes.remove(process)
