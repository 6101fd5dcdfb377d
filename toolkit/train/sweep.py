"""The matrix of an experiment, or a part of it, trained by an executor: one place where all is shown, kept and tracked.

A trial that fails is told of at once and does not keep the others from their end.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from toolkit.artifacts.dataset import Split
from toolkit.artifacts.model import TrainedModel
from toolkit.errors import DataError, ExitCode, Problem
from toolkit.experiment.schema import Experiment, Stage, Trial
from toolkit.progress import Progress, Task
from toolkit.store import Store
from toolkit.train import run_dir
from toolkit.train.executors import Executor, Local
from toolkit.train.executors.events import (
    Advanced,
    Begun,
    Done,
    Ended,
    EpochDone,
    Event,
    Failed,
    Request,
    Said,
    StageDone,
)
from toolkit.train.sweep_options import Way
from toolkit.train.tracking.base import Tracker, tracker_for
from toolkit.train.tuning.auto_tune import tune_untuned
from toolkit.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What came of a sweep: the models in the order of the matrix, and what went wrong with the others."""

    models: tuple[TrainedModel, ...]
    failed: tuple[Problem, ...]

    @property
    def exit_code(self) -> ExitCode:
        """Done, or some failed."""
        return ExitCode.SOME_FAILED if self.failed else ExitCode.DONE


def train_trials(
    experiment: Experiment,
    trials: Sequence[Trial],
    split: Split,
    workspace: Workspace,
    store: Store,
    progress: Progress,
    *,
    last: Stage | None = None,
    way: Way | None = None,
) -> Swept:
    """Train the trials, each up to the stage `last`; what is finished is skipped, what was stopped goes on.

    Raises:
        ToolkitError: no trial came to anything; with all that went wrong. Or nothing can be trained in this way.
    """
    way = way or Way()
    requests = [
        Request(experiment=experiment, trial=trial, split=split, workspace=workspace, last=last) for trial in trials
    ]
    if way.tune_s and way.profile is None and way.executor == "local":
        tune_untuned(requests, way.tune_s, progress)
    with tracker_for(experiment, workspace, progress, wanted=way.track) as tracker:
        board = _Board(requests, store, progress, tracker)
        try:
            _executor(way, progress).run(requests, board)
        finally:
            board.clear()
    return board.result()


def _executor(way: Way, progress: Progress) -> Executor:
    if way.executor == "ray":
        from toolkit.train.executors.ray import OnRay

        return OnRay(address=way.address, profile=way.profile, progress=progress)
    return Local(profile=way.profile, jobs=way.jobs)


class _Board:
    """Hears of all trials, shows them in one place, and keeps their models."""

    def __init__(self, requests: Sequence[Request], store: Store, progress: Progress, tracker: Tracker) -> None:
        self._requests, self._store, self._progress, self._tracker = requests, store, progress, tracker
        self._models: dict[int, dict[str, TrainedModel]] = {}
        self._failed: dict[int, Failed] = {}
        self._bars: dict[tuple[int, int], tuple[AbstractContextManager[Task], Task]] = {}
        self._running: set[int] = set()

    def begin(self, place: int, why: str = "") -> None:
        """A trial begins, or begins again."""
        self._end_bars(place)
        self._models[place] = {}
        self._running.add(place)
        if why:
            self._progress.log(f"{self._name(place)}: begins again: {why}")

    def hear(self, place: int, event: Event) -> None:
        """Something happened in a trial."""
        match event:
            case Said(text):
                self._progress.log(text)
            case Begun(bar, title, total):
                shown = self._progress.track(self._title(place, title), total)
                self._bars[place, bar] = (shown, shown.__enter__())
            case Advanced(bar, steps, note):
                self._bars[place, bar][1].advance(steps, note)
            case Ended(bar):
                self._bars.pop((place, bar))[0].__exit__(None, None, None)
            case EpochDone(run, epoch):
                self._tracker.epoch(self._requests[place].trial, run, epoch)
            case StageDone(folder):
                self._keep(place, folder)
            case Done() | Failed():
                self._finish(place, event)

    def clear(self) -> None:
        """Leave no bar on the screen."""
        for place in range(len(self._requests)):
            self._end_bars(place)

    def result(self) -> Swept:
        """What came of it.

        Raises:
            ToolkitError: of no trial anything.
        """
        failed = [self._failed[place] for place in sorted(self._failed)]
        problems = tuple(dict.fromkeys(problem for one in failed for problem in one.problems))
        if failed and len(failed) == len(self._requests):
            raise replace(failed[0], problems=problems).raised()
        models = (model for place in range(len(self._requests)) for model in self._models.get(place, {}).values())
        return Swept(models=tuple(models), failed=problems)

    def _keep(self, place: int, folder: str) -> None:
        """Once only, however often a trial had to begin.

        Raises:
            DataError: the worker's model is not to be seen from here.
        """
        request = self._requests[place]
        model = run_dir.finished(request.workspace.absolute(folder))
        if model is None:
            raise DataError("the model just trained cannot be read", where=folder, remedy="run the same command again")
        self._store.put(model)
        self._models[place][model.stage] = model
        self._tracker.stage(request.trial, model)

    def _finish(self, place: int, event: Done | Failed) -> None:
        self._end_bars(place)
        self._running.discard(place)
        if isinstance(event, Failed):
            self._failed[place] = event
            for problem in event.problems:
                self._progress.log(f"failed: {self._name(place)}: {problem.what.splitlines()[0]}")

    def _end_bars(self, place: int) -> None:
        for key in [key for key in self._bars if key[0] == place]:
            self._bars.pop(key)[0].__exit__(None, None, None)

    def _name(self, place: int) -> str:
        return self._requests[place].trial.name

    def _title(self, place: int, title: str) -> str:
        """With the trial's name, where it is not in it and others run beside it."""
        name = self._name(place)
        return title if name in title or len(self._running) < 2 else f"{name} {title}"
