"""Run trials in processes on this machine, as many in parallel as memory and CPUs allow."""

from __future__ import annotations

import os
import selectors
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from toolkit.experiment import compute_profiles
from toolkit.system.cpu_quota import available_cpus
from toolkit.train.executors import parallelism
from toolkit.train.executors.base import TrialListener
from toolkit.train.executors.events import Done, Failed, Log, TrainRequest
from toolkit.train.executors.process import TrainingProcess

POLL_S = 1.0
"""Interval for checking silent processes: the pipe of a dead one may still be open in a child."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalExecutor:
    """A process per place; each takes one trial after the other, so that TensorFlow is started once in each."""

    profile: str | None = None
    """The profile's name; unset: the one tuned for a trial's network, if there is one."""
    jobs: int | None = None
    """How many at once; unset: as many as memory and CPUs allow."""

    def run(self, requests: Sequence[TrainRequest], listener: TrialListener) -> None:
        """Train all trials; if a process dies, its trial fails and a new process continues with the next."""
        chosen = [compute_profiles.select_profile(self.profile, one.trial.network, one.workspace) for one in requests]
        count = self.jobs or _side_by_side(requests, chosen)
        _Floor(requests, chosen, listener, _environment(min(count, len(requests)))).work(count)


def _side_by_side(requests: Sequence[TrainRequest], chosen: Sequence[compute_profiles.ComputeProfile]) -> int:
    return parallelism.max_parallel_trials(
        len(requests),
        cpus=available_cpus(),
        cpus_per_trial=max((profile.intra_op or parallelism.CPUS_PER_TRIAL for profile in chosen), default=1),
        available_bytes=parallelism.available_bytes(),
        needed_bytes=max((parallelism.needed_bytes(one.experiment, one.trial) for one in requests), default=0),
    )


def _environment(count: int) -> Mapping[str, str]:
    """Return this process's environment with the CPUs divided among the jobs; the user's or profile's thread settings take precedence."""
    threads = {} if count < 2 else {"TF_NUM_INTRAOP_THREADS": str(max(1, available_cpus() // count))}
    return {**threads, **os.environ}


class _Floor:
    """Processes at work, each on the trial at one place of `requests`."""

    def __init__(
        self,
        requests: Sequence[TrainRequest],
        chosen: Sequence[compute_profiles.ComputeProfile],
        listener: TrialListener,
        environment: Mapping[str, str],
    ) -> None:
        self._requests, self._profiles, self._listener = requests, chosen, listener
        self._environment = environment
        self._waiting = list(range(len(requests)))
        self._at: dict[TrainingProcess, int] = {}
        self._selector = selectors.DefaultSelector()

    def work(self, count: int) -> None:
        """Train all, `count` at once; nobody is left when this is left."""
        try:
            for _ in range(min(count, len(self._waiting))):
                self._go_on(None)
            while self._at:
                for key, _ in self._selector.select(POLL_S):
                    self._on_event(key.fileobj)  # type: ignore[arg-type]  # nothing else is registered
                for process in [process for process in self._at if process.is_silent_for_ever()]:
                    self._bury(process)
        finally:
            for process in self._at:
                process.part()
            for process in list(self._at):
                self._leave(process).stop()
            self._selector.close()

    def _on_event(self, process: TrainingProcess) -> None:
        place, events = self._at[process], process.read_events()
        for event in events if events is not None else ():
            self._listener.on_event(place, event)
            if isinstance(event, Done | Failed):
                self._go_on(self._leave(process))
        if events is None:
            self._bury(process)

    def _bury(self, process: TrainingProcess) -> None:
        """Tell why it ended, and go on with the next trial."""
        place = self._at[process]
        death = self._leave(process).death(self._requests[place].trial.name)
        self._listener.on_event(place, death)
        self._go_on(None)

    def _go_on(self, process: TrainingProcess | None) -> None:
        """Give the next trial to `process`, or to a new one if that is none or runs under another profile."""
        place = self._next() if self._waiting else None
        if process and (place is None or process.profile != self._profiles[place]):
            process.stop()
            process = None
        if place is None:
            return
        new = process is None
        process = process or TrainingProcess(self._profiles[place], self._environment)
        self._selector.register(process, selectors.EVENT_READ)
        self._at[process] = place
        self._waiting.remove(place)
        self._listener.begin(place)
        if new and process.profile != compute_profiles.PLAIN:
            self._listener.on_event(place, Log(f"training under {process.profile.describe()}"))
        process.give(self._requests[place])

    def _leave(self, process: TrainingProcess) -> TrainingProcess:
        del self._at[process]
        self._selector.unregister(process)
        return process

    def _next(self) -> int:
        networks = [one.trial.network for one in self._requests]
        return next_place(self._waiting, networks, list(self._at.values()))


def next_place(waiting: Sequence[int], networks: Sequence[str], running: Sequence[int]) -> int:
    """Which trial begins next: the first of a network that none trains now, so that features are not made twice."""
    busy = {networks[place] for place in running}
    return next((place for place in waiting if networks[place] not in busy), waiting[0])
