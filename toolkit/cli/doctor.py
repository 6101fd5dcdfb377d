"""`toolkit doctor`: what is missing on this machine, and how to mend it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli.options import DEFAULT_WORKSPACE, InventoryOption, JsonOption, WorkspaceOption
from toolkit.cli.output import plain, print_json
from toolkit.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from toolkit.doctor import Check, Diagnosis

MARKS = {"good": ("ok", "green"), "care": ("mind", "yellow"), "bad": ("BAD", "bold red")}


def doctor(
    only: Annotated[list[str] | None, typer.Argument(metavar="[CHECK]...", help="Default: all of them.")] = None,
    fix: Annotated[
        bool, typer.Option("--fix", help="Also add what is missing and can be had; changes nothing else.")
    ] = False,
    inventory: InventoryOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> ExitCode:
    """Look whether this machine has what the line needs, and say what to do. Exit code 1 if something will not work."""
    from toolkit.doctor import Place, checks, examine
    from toolkit.progress import create_progress
    from toolkit.workspace import Workspace

    place = Place(Workspace(workspace), inventory, create_progress(quiet=as_json))
    found = examine(_chosen(checks(), only or []), place, fix=fix)
    if as_json:
        print_json({"checks": [{"state": each.state, **plain(each)} for each in found]})
    else:
        _print(found)
    return ExitCode.SOME_FAILED if any(each.state == "bad" for each in found) else ExitCode.DONE


def _chosen(known: tuple[Check, ...], wanted: list[str]) -> tuple[Check, ...]:
    names = [check.name for check in known]
    if unknown := [name for name in wanted if name not in names]:
        raise UsageError(f"no such check: {', '.join(unknown)}", remedy=f"there are {', '.join(names)}")
    return tuple(check for check in known if not wanted or check.name in wanted)


def _print(found: tuple[Diagnosis, ...]) -> None:
    """A line per finding, its remedy under it."""
    import sys

    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 200)
    for each in found:
        for number, finding in enumerate(each.findings):
            mark, style = MARKS[finding.state]
            console.print(
                Text(f"{mark:<5}", style),
                Text(f"{'' if number else each.name:<14}", "bold"),
                Text(finding.what),
                sep="",
            )
            if finding.remedy:
                console.print(Text(f"{'':<19}→ {finding.remedy}"))
        if each.mended:
            console.print(Text(f"{'':<19}mended: {each.mended}", "green"))
    wrong = sum(each.state == "bad" for each in found)
    minded = sum(each.state == "care" for each in found)
    console.print(f"\n{len(found) - wrong - minded} in order, {minded} to mind, {wrong} bad")
