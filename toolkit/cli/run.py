"""`toolkit run` and `toolkit demo`: the whole pipeline, from images to report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli import options, output
from toolkit.progress import log_error

if TYPE_CHECKING:
    from toolkit.pipeline import PipelineResult


def run(
    experiment: Annotated[Path, options.EXPERIMENT_ARGUMENT],
    inventory: Annotated[
        Path | None,
        typer.Option(
            "--inventory",
            "-i",
            metavar="FILE",
            help="Ansible inventory. Default: a local fleet of three devices.",
            rich_help_panel=options.DEVICES,
        ),
    ] = None,
    limit: options.LimitOption = None,
    forks: options.ForksOption = options.DEFAULT_FORKS,
    executor: options.ExecutorOption = "local",
    address: options.AddressOption = None,
    profile: options.ProfileOption = None,
    tune: options.TuneOption = 0.0,
    jobs: options.JobsOption = None,
    workers: options.WorkersOption = 1,
    track: options.TrackOption = None,
    workspace: options.WorkspaceOption = options.DEFAULT_WORKSPACE,
    as_json: options.JsonOption = False,
) -> None:
    """Run the whole pipeline for an experiment.

    Skips what is finished and resumes what was stopped.
    """
    from toolkit.experiment.load import load_experiment
    from toolkit.progress import create_progress
    from toolkit.workspace import Workspace

    plan = load_experiment(experiment)

    from toolkit.pipeline import Pipeline
    from toolkit.train import parse_sweep_options

    result = Pipeline(
        plan=plan,
        workspace=Workspace(workspace),
        progress=create_progress(quiet=as_json),
        inventory=inventory,
        limit=limit,
        forks=forks,
        sweep_options=parse_sweep_options(
            executor, address=address, profile=profile, jobs=jobs, workers=workers, track=track, tune_s=tune
        ),
    ).run()
    if as_json:
        output.print_json(result)
    else:
        _print(result)
    raise typer.Exit(result.exit_code)


def demo(
    workspace: options.WorkspaceOption = options.DEFAULT_WORKSPACE,
    as_json: options.JsonOption = False,
) -> None:
    """Run the whole pipeline on the built-in demo.

    Trains four trials on synthetic masks and measures them on a local fleet of three devices.
    """
    from toolkit.experiment.load import shipped_experiment

    run(shipped_experiment("demo"), workspace=workspace, as_json=as_json)


def _print(result: PipelineResult) -> None:
    """Print the table, the failures and the path of the report."""
    output.print_table(result.report.columns, result.report.rows, title=result.split.note)
    for problem in result.failed:
        log_error(str(problem), what=problem.what, where=problem.where, remedy=problem.remedy)
    typer.echo(f"\ndeployed  {result.deployed.name} ({result.deployed.short})\nreport    {result.report.index}")
