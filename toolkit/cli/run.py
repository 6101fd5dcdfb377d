"""`toolkit run` and `toolkit demo`: the whole line, from images to report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli import options, output

if TYPE_CHECKING:
    from toolkit.pipeline import PipelineResult


def run(
    experiment: Annotated[Path, typer.Argument(help="The experiment file; those that come along lie in models/.")],
    inventory: Annotated[
        Path | None,
        typer.Option("--inventory", "-i", help="The Ansible inventory. Default: an embedded fleet of three."),
    ] = None,
    limit: options.LimitOption = None,
    forks: options.ForksOption = options.DEFAULT_FORKS,
    executor: options.ExecutorOption = "local",
    address: options.AddressOption = None,
    profile: options.ProfileOption = None,
    tune: options.TuneOption = 0.0,
    jobs: options.JobsOption = None,
    track: options.TrackOption = None,
    workspace: options.WorkspaceOption = options.DEFAULT_WORKSPACE,
    as_json: options.JsonOption = False,
) -> None:
    """Run the whole line for an experiment; what is finished is skipped, what was stopped goes on."""
    from toolkit.experiment import schema as experiments
    from toolkit.progress import create_progress
    from toolkit.workspace import Workspace

    plan = experiments.load(experiment)

    from toolkit.pipeline import Pipeline
    from toolkit.train import choose_way

    result = Pipeline(
        plan=plan,
        workspace=Workspace(workspace),
        progress=create_progress(quiet=as_json),
        inventory=inventory,
        limit=limit,
        forks=forks,
        way=choose_way(executor, address=address, profile=profile, jobs=jobs, track=track, tune_s=tune),
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
    """Run the whole line on the embedded default: synthetic masks, four trials, a fleet of three on this machine."""
    from toolkit.experiment.schema import shipped

    run(shipped("demo"), workspace=workspace, as_json=as_json)


def _print(result: PipelineResult) -> None:
    """The table, what failed, and where the report is."""
    output.print_table(result.report.columns, result.report.rows, title=result.split.note)
    for problem in result.failed:
        typer.echo(f"error: {problem}", err=True)
    typer.echo(f"\ndeployed  {result.deployed.name} ({result.deployed.short})\nreport    {result.report.index}")
