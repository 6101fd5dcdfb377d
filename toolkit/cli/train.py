"""`toolkit train`: the matrix of an experiment, or a part of it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from toolkit.cli import options, output

if TYPE_CHECKING:
    from toolkit.artifacts.model import TrainedModel


def train(
    experiment: Annotated[Path, typer.Argument(help="The experiment file; those that come along lie in models/.")],
    network: Annotated[str | None, typer.Option(help="Only this network of the matrix.")] = None,
    head: Annotated[str | None, typer.Option(help="Only this head: sigmoid, softmax or multi-sigmoid.")] = None,
    stage: Annotated[str | None, typer.Option(help="Stop after this stage: top or fine-tune.")] = None,
    executor: options.ExecutorOption = "local",
    address: options.AddressOption = None,
    profile: options.ProfileOption = None,
    tune: options.TuneOption = 0.0,
    jobs: options.JobsOption = None,
    track: options.TrackOption = None,
    in_container: Annotated[
        bool, typer.Option("--in-container", help="Train in the training container image, on its build of TensorFlow.")
    ] = False,
    container_image: Annotated[
        str,
        typer.Option(envvar="TOOLKIT_TRAIN_CONTAINER_IMAGE", help="Which container image that is.", show_default=True),
    ] = "edge-vision/train:dev",
    workspace: options.WorkspaceOption = options.DEFAULT_WORKSPACE,
    as_json: options.JsonOption = False,
) -> None:
    """Train the experiment's networks and heads; what is finished is skipped, what was stopped goes on."""
    if in_container:
        _train_in_container(experiment, workspace, container_image)
    from toolkit import data
    from toolkit.experiment import schema as experiments
    from toolkit.progress import create_progress
    from toolkit.store import Store
    from toolkit.train import choose_last, choose_trials, choose_way, train_trials
    from toolkit.workspace import Workspace

    progress, place = create_progress(quiet=as_json), Workspace(workspace)
    plan = experiments.load(experiment)
    way = choose_way(executor, address=address, profile=profile, jobs=jobs, track=track, tune_s=tune)
    trials, last = choose_trials(plan, network=network, head=head), choose_last(plan, stage)
    split = data.prepare(plan.data, plan.origin, place, progress)
    with Store(place.database) as store:
        store.put(split)
        swept = train_trials(plan, trials, split, place, store, progress, last=last, way=way)
    if as_json:
        output.print_json(swept.models)
    else:
        _print(swept.models)
    for problem in swept.failed:
        typer.echo(f"error: {problem}", err=True)
    raise typer.Exit(swept.exit_code)


def _train_in_container(experiment: Path, workspace: Path, container_image: str) -> NoReturn:
    """The same words there, less those that led there."""
    from toolkit.experiment import schema as experiments
    from toolkit.train import in_container

    words = [
        word
        for word in sys.argv[1:]
        if word not in {"--in-container", "--container-image", container_image, f"--container-image={container_image}"}
    ]
    readable = in_container.folders_of(experiments.load(experiment))
    raise typer.Exit(in_container.run_in_container(words, readable, workspace, container_image))


def _print(models: Sequence[TrainedModel]) -> None:
    """One line per model; the note says what the images were."""
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
