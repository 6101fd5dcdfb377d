"""`toolkit doctor`: what is missing on this machine, and how to fix it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli.options import DEFAULT_WORKSPACE, InventoryOption, JsonOption, WorkspaceOption
from toolkit.cli.output import print_json, to_json
from toolkit.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from toolkit.doctor import Check, Diagnosis

MARKS = {"good": ("ok", "green"), "warning": ("warn", "yellow"), "bad": ("BAD", "bold red")}


def doctor(
    only: Annotated[list[str] | None, typer.Argument(metavar="CHECK", help="Names of checks. Default: all.")] = None,
    fix: Annotated[
        bool, typer.Option("--fix", help="Add what is missing and available; changes nothing else.")
    ] = False,
    inventory: InventoryOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> ExitCode:
    """Check what this machine lacks.

    Every finding comes with the next thing to do. Exit code 1 if part of the pipeline will not work.
    """
    from toolkit.doctor import Place, all_checks, run_checks
    from toolkit.progress import create_progress
    from toolkit.workspace import Workspace

    place = Place(Workspace(workspace), inventory, create_progress(quiet=as_json))
    diagnoses = run_checks(_select(all_checks(), only or []), place, fix=fix)
    if as_json:
        print_json({"checks": [{"state": each.state, **to_json(each)} for each in diagnoses]})
    else:
        _print(diagnoses)
    return ExitCode.SOME_FAILED if any(each.state == "bad" for each in diagnoses) else ExitCode.DONE


def _select(known: tuple[Check, ...], requested: list[str]) -> tuple[Check, ...]:
    names = [check.name for check in known]
    if unknown := [name for name in requested if name not in names]:
        raise UsageError(f"unknown check: {', '.join(unknown)}", remedy=f"choose from {', '.join(names)}")
    return tuple(check for check in known if not requested or check.name in requested)


def _print(diagnoses: tuple[Diagnosis, ...]) -> None:
    """Print a line per finding, with its remedy below."""
    import sys

    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 200)
    for each in diagnoses:
        for number, finding in enumerate(each.findings):
            mark, style = MARKS[finding.state]
            console.print(
                Text(f"{mark:<5}", style),
                Text(f"{'' if number else each.name:<16}", "bold"),
                Text(finding.what),
                sep="",
            )
            if finding.remedy:
                console.print(Text(f"{'':<21}→ {finding.remedy}"))
        if each.fixed:
            console.print(Text(f"{'':<21}fixed: {each.fixed}", "green"))
    wrong = sum(each.state == "bad" for each in diagnoses)
    warnings = sum(each.state == "warning" for each in diagnoses)
    console.print(f"\n{len(diagnoses) - wrong - warnings} ok, {warnings} with warnings, {wrong} bad")
