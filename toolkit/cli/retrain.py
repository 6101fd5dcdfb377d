"""`toolkit retrain`: train on the labels and compare the model with the serving one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli import options, output
from toolkit.progress import log_error

if TYPE_CHECKING:
    from toolkit.artifacts.labeling import Retraining


def retrain(
    experiment: Annotated[Path, options.EXPERIMENT_ARGUMENT],
    stage: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Last stage to train: top or fine-tune. Default: the serving model's."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Convert the model even if it is significantly worse.")
    ] = False,
    profile: options.ProfileOption = None,
    workspace: options.WorkspaceOption = options.DEFAULT_WORKSPACE,
    as_json: options.JsonOption = False,
) -> None:
    """Train on the labels and compare the result.

    Compares the new model with the serving one on the old test images, the new ones and those of each device. Exit code
    1 if it is significantly worse.
    """
    from toolkit.errors import ExitCode
    from toolkit.experiment.load import load_experiment
    from toolkit.loop.retrain import retrain as train_again
    from toolkit.progress import create_progress
    from toolkit.store import Store
    from toolkit.train import last_stage, parse_sweep_options
    from toolkit.workspace import Workspace

    plan, place = load_experiment(experiment), Workspace(workspace)
    sweep_options = parse_sweep_options("local", address=None, profile=profile, jobs=None, track=None, tune_s=0.0)
    last = last_stage(plan, stage)
    with Store(place.database) as store:
        result = train_again(
            plan, place, store, create_progress(quiet=as_json), stage=last, force=force, sweep_options=sweep_options
        )
    if as_json:
        output.print_json(result)
    elif result is None:
        typer.echo("no new labels since the serving model was trained; nothing to do")
    else:
        print_retraining(result, place.option)
    raise typer.Exit(ExitCode.SOME_FAILED if result and result.refused else ExitCode.DONE)


def print_retraining(result: Retraining, workspace_option: str) -> None:
    """Print both models' accuracy on each set of images, and the next step."""
    columns = ("images of", "images", f"serving ({result.serving_version})", "95 %", f"new ({result.version})", "95 %")
    rows = [
        (
            one.images_of,
            one.images,
            f"{one.serving:.4f}",
            _interval(one.serving_interval),
            f"{one.new:.4f}",
            _interval(one.new_interval),
            f"{one.difference:+.4f}",
            _interval(one.interval),
            f"{one.p_value:.2g}",
        )
        for one in result.comparisons
    ]
    output.print_table((*columns, "difference", "95 %", "p"), rows, title=result.experiment)
    if result.refused:
        log_error(f"not converted: {result.refused}", what=result.refused)
    else:
        typer.echo(f"next: toolkit deploy {result.bundle[:12]} --fleet{workspace_option}")


def _interval(bounds: tuple[float, float]) -> str:
    return f"{bounds[0]:.3f}…{bounds[1]:.3f}"
