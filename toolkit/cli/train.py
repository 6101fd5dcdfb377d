"""`toolkit train`: the networks and heads of an experiment."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from toolkit.cli import options, output
from toolkit.progress import log_error

if TYPE_CHECKING:
    from toolkit.artifacts.model import TrainedModel

CONTAINER = "Container"


def train(
    experiment: Annotated[Path, options.EXPERIMENT_ARGUMENT],
    network: Annotated[
        str | None, typer.Option(metavar="NAME", help="Network of the experiment to train. Default: all.")
    ] = None,
    head: Annotated[
        str | None, typer.Option(metavar="NAME", help="Head to train: sigmoid, softmax or multi-sigmoid. Default: all.")
    ] = None,
    stage: Annotated[str | None, typer.Option(metavar="NAME", help="Last stage to train: top or fine-tune.")] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Choose the most accurate network whose latency on the devices is at most TIME, such as 30ms.",
        ),
    ] = None,
    executor: options.ExecutorOption = "local",
    address: options.AddressOption = None,
    profile: options.ProfileOption = None,
    tune: options.TuneOption = 0.0,
    jobs: options.JobsOption = None,
    workers: options.WorkersOption = 1,
    track: options.TrackOption = None,
    in_container: Annotated[
        bool,
        typer.Option(
            "--in-container", help="Train in a container, with its build of TensorFlow.", rich_help_panel=CONTAINER
        ),
    ] = False,
    container_image: Annotated[
        str,
        typer.Option(
            envvar="TOOLKIT_TRAIN_CONTAINER_IMAGE",
            metavar="NAME",
            help="Container image to train in.",
            show_default=True,
            rich_help_panel=CONTAINER,
        ),
    ] = "edge-vision/train:dev",
    workspace: options.WorkspaceOption = options.DEFAULT_WORKSPACE,
    as_json: options.JsonOption = False,
) -> None:
    """Train the networks of an experiment.

    Skips what is finished and resumes what was stopped.
    """
    if in_container:
        _train_in_container(experiment, workspace, container_image)
    from toolkit import data
    from toolkit.experiment.load import load_experiment
    from toolkit.progress import create_progress
    from toolkit.store import Store
    from toolkit.train import last_stage, parse_sweep_options, select_trials, train_trials
    from toolkit.workspace import Workspace

    progress, place = create_progress(quiet=as_json), Workspace(workspace)
    plan = load_experiment(experiment)
    if budget is not None:
        from toolkit.analysis.network_budget import parse_budget, with_network_for

        with Store(place.database) as store:
            plan = with_network_for(plan, parse_budget(budget), store, progress)
    sweep_options = parse_sweep_options(
        executor, address=address, profile=profile, jobs=jobs, workers=workers, track=track, tune_s=tune
    )
    trials, last = select_trials(plan, network=network, head=head), last_stage(plan, stage)
    split = data.prepare_dataset(plan.data, plan.origin, place, progress)
    with Store(place.database) as store:
        store.put(split)
        sweep_result = train_trials(plan, trials, split, place, store, progress, last=last, sweep_options=sweep_options)
    if as_json:
        output.print_json(sweep_result.models)
    else:
        _print(sweep_result.models)
    for problem in sweep_result.failed:
        log_error(str(problem), what=problem.what, where=problem.where, remedy=problem.remedy)
    raise typer.Exit(sweep_result.exit_code)


def _train_in_container(experiment: Path, workspace: Path, container_image: str) -> NoReturn:
    """Run the same command in the container, without the options that select it."""
    from toolkit.experiment.load import load_experiment
    from toolkit.train import in_container

    argv = [
        word
        for word in sys.argv[1:]
        if word not in {"--in-container", "--container-image", container_image, f"--container-image={container_image}"}
    ]
    readable = in_container.mounts_for(load_experiment(experiment))
    raise typer.Exit(in_container.run_in_container(argv, readable, workspace, container_image))


def _print(models: Sequence[TrainedModel]) -> None:
    """Print one row per model; the title says what kind of images they were trained on."""
    columns = ("network", "head", "stage", "weights", "test accuracy", "95 %", "loss", "seconds", "model")
    notes = sorted({model.note for model in models if model.note})
    output.print_table(columns, (_row(model) for model in models), title=", ".join(notes))


def _row(model: TrainedModel) -> tuple[str, ...]:
    evaluation = model.evaluation
    low, high = evaluation.interval
    return (
        model.network,
        model.head,
        model.stage,
        model.weights,
        f"{evaluation.accuracy:.4f}",
        f"{low:.3f}…{high:.3f}",
        f"{evaluation.loss:.4f}",
        f"{model.seconds:.0f}",
        model.path,
    )
