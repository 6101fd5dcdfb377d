"""`toolkit report`: which model to ship, on which device, and whether to trust it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from toolkit.cli.options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption
from toolkit.cli.output import print_json, print_table


def report(
    experiment: Annotated[
        Path | None, typer.Argument(metavar="EXPERIMENT", help="Experiment file. Default: the one trained last.")
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    results: Annotated[
        Path | None, typer.Option("--markdown", metavar="FILE.md", help="File to write every table to as well.")
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Write the report of the workspace.

    One self-contained HTML page that recommends a model, with CSV and Markdown files beside it.
    """
    from toolkit.experiment.load import load_experiment
    from toolkit.report import write_report
    from toolkit.store import Store
    from toolkit.workspace import Workspace

    plan = load_experiment(experiment) if experiment else None
    place = Workspace(workspace)
    with Store(place.database) as store:
        written = write_report(place, store, experiment=plan, results=results, workspace_option=place.option)
    if show:
        typer.launch(written.index.resolve().as_uri())
    if as_json:
        print_json(written)
        return
    print_table(written.columns, written.rows, title=written.note)
    typer.echo(f"\n{written.headline}. {written.reason}\n")
    for check in written.checks:
        typer.echo(f"  {check.state:<4}  {check.title}: {check.text}")
    typer.echo(f"\nreport    {written.index}")
    if results:
        typer.echo(f"results   {results}")
