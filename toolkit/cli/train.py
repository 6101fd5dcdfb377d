"""`toolkit train`: the matrix of an experiment, or a part of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli import options, output

if TYPE_CHECKING:
    from toolkit.artifacts import TrainedModel


def train(
    experiment: Annotated[Path, typer.Argument(help="The experiment file; those that come along lie in models/.")],
    network: Annotated[str | None, typer.Option(help="Only this network of the matrix.")] = None,
    head: Annotated[str | None, typer.Option(help="Only this head: sigmoid or softmax.")] = None,
    stage: Annotated[str | None, typer.Option(help="Stop after this stage: top or fine-tune.")] = None,
    workspace: options.WorkspaceOption = options.DEFAULT_WORKSPACE,
    as_json: options.JsonOption = False,
) -> None:
    """Train the experiment's networks and heads; what is finished is skipped, what was stopped goes on."""
    from toolkit import data
    from toolkit import experiment as experiments
    from toolkit.artifacts import Workspace
    from toolkit.progress import for_people
    from toolkit.store import Store
    from toolkit.train import choose_last, choose_trials, train_trial

    progress, place = for_people(quiet=as_json), Workspace(workspace)
    plan = experiments.load(experiment)
    trials, last = choose_trials(plan, network=network, head=head), choose_last(plan, stage)
    split = data.prepare(plan.data, plan.origin, place, progress)
    with Store(place.database) as store:
        models = [
            model for trial in trials for model in train_trial(plan, trial, split, place, store, progress, last=last)
        ]
    if as_json:
        output.print_json(models)
    else:
        _print(models)


def _print(models: list[TrainedModel]) -> None:
    """One line per model; the note says what the pictures were."""
    columns = ("network", "head", "stage", "weights", "test accuracy", "95 %", "loss", "seconds", "model")
    notes = sorted({model.note for model in models if model.note})
    output.print_table(columns, (_row(model) for model in models), title=", ".join(notes))


def _row(model: TrainedModel) -> tuple[str, ...]:
    judged = model.evaluation
    low, high = judged.interval
    return (
        model.network,
        model.head,
        model.stage,
        model.weights,
        f"{judged.accuracy:.4f}",
        f"{low:.3f}…{high:.3f}",
        f"{judged.loss:.4f}",
        f"{model.seconds:.0f}",
        model.path,
    )
