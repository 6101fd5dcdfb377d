"""Select trials of an experiment by command-line options."""

from __future__ import annotations

from collections.abc import Sequence

from toolkit.errors import Problem, UsageError
from toolkit.experiment.schema import Experiment
from toolkit.experiment.training_schema import Stage, Trial


def select_trials(experiment: Experiment, *, network: str | None, head: str | None) -> tuple[Trial, ...]:
    """Return the trials of a network and head; None selects all.

    Raises:
        UsageError: the experiment has no such network or head.
    """
    _refuse_unknown(
        experiment.name, ("--network", network, experiment.matrix.networks), ("--head", head, experiment.heads)
    )
    return tuple(
        trial for trial in experiment.trials() if network in {None, trial.network} and head in {None, trial.head}
    )


def last_stage(experiment: Experiment, stage: str | None) -> Stage | None:
    """Return the stage to stop after; None runs all stages.

    Raises:
        UsageError: the experiment has no such stage.
    """
    names = experiment.stage_names
    _refuse_unknown(experiment.name, ("--stage", stage, names))
    return next((name for name in names if name == stage), None)


def _refuse_unknown(experiment: str, *choices: tuple[str, str | None, Sequence[str]]) -> None:
    problems = [
        Problem(f"experiment {experiment} has no {requested!r}", option, f"it has {', '.join(known)}")
        for option, requested, known in choices
        if requested is not None and requested not in known
    ]
    if problems:
        raise UsageError.from_problems(problems)
