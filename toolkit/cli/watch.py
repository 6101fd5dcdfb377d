"""`toolkit fleet watch`: the fleet as a live table."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli.options import (
    DEFAULT_FORKS,
    DEFAULT_WORKSPACE,
    ForksOption,
    InventoryOption,
    JsonOption,
    LimitOption,
    WorkspaceOption,
)
from toolkit.cli.output import plain, print_json
from toolkit.errors import ExitCode

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from toolkit.fleet.watch import Glance

    Looking = Callable[[], tuple[Glance, ...]]

HOT_C = 80.0
"""Where a Pi begins to throttle."""
COLUMNS = ("device", "release", "FPS", "service", "°C", "throttled", "MHz", "load", "last seen")


def watch(
    once: Annotated[
        bool, typer.Option("--once", help="Look once and end; exit code 1 if a device did not answer.")
    ] = False,
    every: Annotated[float, typer.Option(min=0.2, help="Seconds from one look to the next.")] = 5.0,
    inventory: InventoryOption = None,
    limit: LimitOption = None,
    forks: ForksOption = DEFAULT_FORKS,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> ExitCode:
    """Show what each device serves, how fast, how hot, whether throttled and when it was last seen, until Ctrl-C.

    With --json a line per look, for as long as it runs; where stdout is no terminal, a table per look.
    """
    from toolkit.fleet.inventory.load import find_inventory, load_inventory
    from toolkit.fleet.watch import Watch
    from toolkit.workspace import Workspace

    looking = Watch(load_inventory(find_inventory(inventory, Workspace(workspace)), limit), forks)
    if once:
        seen = looking.round()
        if as_json:
            print_json({"devices": [described(each) for each in seen]})
        else:
            _console().print(table(seen))
        return ExitCode.SOME_FAILED if any(each.problem for each in seen) else ExitCode.DONE
    if as_json:
        return _lines(looking.round, every)
    return _live(looking.round, every)


def _lines(look: Looking, every: float) -> ExitCode:
    """One JSON document a line."""
    import json

    while True:
        print(json.dumps({"at": time.time(), "devices": [plain(described(each)) for each in look()]}), flush=True)
        time.sleep(every)


def _live(look: Looking, every: float) -> ExitCode:
    """A table that is drawn over itself."""
    from rich.live import Live

    if not sys.stdout.isatty():
        while True:
            _console().print(table(look()))
            time.sleep(every)
    with Live(console=_console(), auto_refresh=False) as live:
        while True:
            live.update(table(look()), refresh=True)
            time.sleep(every)


def described(of: Glance) -> dict[str, object]:
    """A glance for programs."""
    return {**plain(of), "throttle": of.throttle or None}


def table(seen: Sequence[Glance]) -> Table:
    """All devices; what needs a look stands out."""
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in COLUMNS:
        made.add_column(column, justify="right" if column in {"FPS", "°C", "MHz", "load"} else "left", overflow="fold")
    for each in seen:
        style = "dim" if each.problem else ""
        cells = [Text(text, mood) for text, mood in row(each)]
        made.add_row(*cells, style=style)
    return made


def row(of: Glance) -> list[tuple[str, str]]:
    """(text, style) per column."""
    from toolkit.fleet.watch import ago

    hot = of.temperature_c is not None and of.temperature_c >= HOT_C
    last = f"{ago(of.seen)}: {of.problem}" if of.problem else ago(of.seen)
    return [
        (of.device, ""),
        (f"{of.name or 'unnamed'} {of.release[:12]}" if of.release else "nothing", ""),
        (number(of.fps, ".1f"), ""),
        (of.app or "", ""),
        (number(of.temperature_c, ".0f"), "red" if hot else ""),
        (of.throttle, {"now": "bold red", "since boot": "yellow"}.get(of.throttle, "")),
        (number(of.clock_mhz, ",.0f"), ""),
        (number(of.load_1min, ".1f"), ""),
        (last, "red" if of.problem else ""),
    ]


def number(value: float | None, form: str) -> str:
    """A figure, or nothing where there is none."""
    return "" if value is None else format(value, form)


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else 200)
