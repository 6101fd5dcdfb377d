"""Run all or some trials of an experiment with an executor, and show, store and track their results.

A failed trial is reported at once; the others continue.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from toolkit.artifacts.dataset import Split
from toolkit.artifacts.model import TrainedModel
from toolkit.errors import DataError, ExitCode, Problem, ToolkitError
from toolkit.experiment import recipe
from toolkit.experiment.compute_profiles import select_profile
from toolkit.experiment.schema import Experiment
from toolkit.experiment.toml_writer import experiment_toml
from toolkit.experiment.training_schema import Stage, Trial
from toolkit.progress import Progress, Silent, Task
from toolkit.store import Store
from toolkit.train import run_dir
from toolkit.train.executors import Executor, LocalExecutor
from toolkit.train.executors.events import (
    Done,
    EpochDone,
    Event,
    Failed,
    Log,
    ProgressAdvanced,
    ProgressEnded,
    ProgressStarted,
    StageDone,
    TrainRequest,
)
from toolkit.train.sweep_options import SweepOptions
from toolkit.train.tracking.base import Tracker, tracker_for
from toolkit.train.trial import train_trial
from toolkit.train.trial_context import prepare_trial
from toolkit.train.tuning.auto_tune import tune_missing_profiles
from toolkit.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepResult:
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
    sweep_options: SweepOptions | None = None,
) -> SweepResult:
    """Train the trials, each up to the stage `last`; finished stages are skipped, interrupted ones are resumed.

    Raises:
        ToolkitError: no trial came to anything; with all that went wrong. Or nothing can be trained in this way.
    """
    sweep_options = sweep_options or SweepOptions()
    if experiment.without_file:
        progress.log(f"settings, as `toolkit init` writes them:\n\n{describe_settings(experiment, split)}")
    requests = [
        TrainRequest(experiment=experiment, trial=trial, split=split, workspace=workspace, last=last)
        for trial in trials
    ]
    if _finished(requests, sweep_options):
        return SweepResult(models=_finished_models(requests, store, progress), failed=())
    if sweep_options.tune_s and sweep_options.profile is None and sweep_options.executor == "local":
        tune_missing_profiles(requests, sweep_options.tune_s, progress)
    with tracker_for(experiment, workspace, progress, enabled=sweep_options.track) as tracker:
        monitor = _SweepMonitor(requests, store, progress, tracker)
        try:
            _executor(sweep_options, progress).run(requests, monitor)
        finally:
            monitor.clear()
    return monitor.result()


def describe_settings(experiment: Experiment, split: Split) -> str:
    """The experiment as a TOML file that holds every training setting, as the recipe chooses them for this data."""
    trial = next(experiment.trials())
    counts = split.counts.get("train", {})
    completed = recipe.complete(trial, counts, images=split.size("train"), multi_label=split.multi_label)
    return experiment_toml(experiment, completed, experiment.resolve_path(experiment.data.path or ""))


def _finished(requests: Sequence[TrainRequest], sweep_options: SweepOptions) -> bool:
    """Whether nothing needs training, found without starting a process; False if only other processes can tell."""
    if sweep_options.executor != "local" or sweep_options.track:
        return False
    try:
        for one in requests:
            profile = select_profile(sweep_options.profile, one.trial.network, one.workspace)
            context = prepare_trial(one.experiment, one.trial, one.split, one.workspace, Silent(), check=False)
            if profile.python is not None or not context.is_finished(one.last):
                return False
    except ToolkitError:
        return False  # the trial's own process reports it
    return True


def _finished_models(requests: Sequence[TrainRequest], store: Store, progress: Progress) -> tuple[TrainedModel, ...]:
    return tuple(
        model
        for one in requests
        for model in train_trial(one.experiment, one.trial, one.split, one.workspace, store, progress, last=one.last)
    )


def _executor(sweep_options: SweepOptions, progress: Progress) -> Executor:
    if sweep_options.executor == "ray":
        from toolkit.train.executors.ray import RayExecutor

        return RayExecutor(
            address=sweep_options.address,
            profile=sweep_options.profile,
            progress=progress,
            workers=sweep_options.workers,
        )
    return LocalExecutor(profile=sweep_options.profile, jobs=sweep_options.jobs)


class _SweepMonitor:
    """Hears of all trials, shows them in one place, and keeps their models."""

    def __init__(self, requests: Sequence[TrainRequest], store: Store, progress: Progress, tracker: Tracker) -> None:
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
            self._progress.log(f"{self._name(place)}: starting again: {why}")

    def on_event(self, place: int, event: Event) -> None:
        """Something happened in a trial."""
        match event:
            case Log(text):
                self._progress.log(text)
            case ProgressStarted(bar, title, total):
                shown = self._progress.track(self._title(place, title), total)
                self._bars[place, bar] = (shown, shown.__enter__())
            case ProgressAdvanced(bar, steps, note):
                self._bars[place, bar][1].advance(steps, note)
            case ProgressEnded(bar):
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

    def result(self) -> SweepResult:
        """What came of it.

        Raises:
            ToolkitError: of no trial anything.
        """
        failed = [self._failed[place] for place in sorted(self._failed)]
        problems = tuple(dict.fromkeys(problem for one in failed for problem in one.problems))
        if failed and len(failed) == len(self._requests):
            raise replace(failed[0], problems=problems).raised()
        models = (model for place in range(len(self._requests)) for model in self._models.get(place, {}).values())
        return SweepResult(models=tuple(models), failed=problems)

    def _keep(self, place: int, folder: str) -> None:
        """Once only, however often a trial had to begin.

        Raises:
            DataError: the worker's model is not to be seen from here.
        """
        request = self._requests[place]
        model = run_dir.load_stage(request.workspace.absolute(folder))
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
