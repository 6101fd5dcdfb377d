"""`toolkit fleet watch`: the fleet as a live table."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli.fleet_options import load_devices
from toolkit.cli.options import (
    DEFAULT_FORKS,
    DEFAULT_WORKSPACE,
    AskPassOption,
    ForksOption,
    InventoryOption,
    JsonOption,
    LimitOption,
    WorkspaceOption,
)
from toolkit.cli.output import print_json, to_json
from toolkit.errors import ExitCode

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from toolkit.analysis.camera_peers import CameraOutlier
    from toolkit.fleet.watch import DeviceSample

    Poll = Callable[[], tuple[DeviceSample, ...]]

HOT_C = 80.0
"""Temperature at which a Pi begins to throttle."""
COLUMNS = (
    "device",
    "release",
    "FPS",
    "service",
    "data drift",
    "unlike its peers",
    "captures",
    "°C",
    "throttled",
    "MHz",
    "load",
    "last seen",
)


def watch(
    once: Annotated[
        bool, typer.Option("--once", help="Poll once and exit; exit code 1 if a device did not answer.")
    ] = False,
    every: Annotated[float, typer.Option(min=0.2, metavar="SECONDS", help="Interval between polls.")] = 5.0,
    inventory: InventoryOption = None,
    limit: LimitOption = None,
    forks: ForksOption = DEFAULT_FORKS,
    ask_pass: AskPassOption = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> ExitCode:
    """Watch the fleet in a live table.

    Shows release, speed, temperature, throttling and when each device was last seen, until Ctrl-C. With --json prints
    one line per poll; where stdout is not a terminal, one table per poll.
    """
    from toolkit.fleet.watch import Watch
    from toolkit.workspace import Workspace

    poll = Watch(load_devices(Workspace(workspace), inventory, limit, ask_pass), forks)
    if once:
        samples = poll.round()
        if as_json:
            print_json({"devices": described_all(samples)})
        else:
            _console().print(table(samples))
        return ExitCode.SOME_FAILED if any(each.problem for each in samples) else ExitCode.DONE
    if as_json:
        return _lines(poll.round, every)
    return _live(poll.round, every)


def _lines(poll: Poll, every: float) -> ExitCode:
    """Print one JSON document per line."""
    import json

    while True:
        print(json.dumps({"at": time.time(), "devices": to_json(described_all(poll()))}), flush=True)
        time.sleep(every)


def _live(poll: Poll, every: float) -> ExitCode:
    """Redraw one table."""
    from rich.live import Live

    if not sys.stdout.isatty():
        while True:
            _console().print(table(poll()))
            time.sleep(every)
    with Live(console=_console(), auto_refresh=False) as live:
        while True:
            live.update(table(poll()), refresh=True)
            time.sleep(every)


def described_all(samples: Sequence[DeviceSample]) -> list[dict[str, object]]:
    """Return all samples for JSON; "unlike_peers" names signals that differ from those of the other cameras."""
    from toolkit.analysis.camera_peers import outliers_by_device

    outliers = outliers_by_device(samples)
    return [
        {**to_json(each), "throttle": each.throttle or None, "unlike_peers": to_json(outliers.get(each.device, []))}
        for each in samples
    ]


def table(samples: Sequence[DeviceSample]) -> Table:
    """Return the table of all devices; what needs attention is highlighted."""
    from rich.table import Table
    from rich.text import Text

    from toolkit.analysis.camera_peers import outliers_by_device

    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in COLUMNS:
        made.add_column(
            column, justify="right" if column in {"FPS", "captures", "°C", "MHz", "load"} else "left", overflow="fold"
        )
    outliers = outliers_by_device(samples)
    for each in samples:
        style = "dim" if each.problem else ""
        cells = [Text(text, cell_style) for text, cell_style in row(each, outliers.get(each.device, ()))]
        made.add_row(*cells, style=style)
    return made


def row(of: DeviceSample, outliers: Sequence[CameraOutlier] = ()) -> list[tuple[str, str]]:
    """Return (text, style) for each column."""
    from toolkit.fleet.watch import ago

    hot = of.temperature_c is not None and of.temperature_c >= HOT_C
    last = f"{ago(of.seen)}: {of.problem}" if of.problem else ago(of.seen)
    return [
        (of.device, ""),
        (f"{of.name or 'unnamed'} {of.release[:12]}" if of.release else "nothing", ""),
        (number(of.fps, ".1f"), ""),
        (of.app or "", ""),
        ("" if of.drift is None else ", ".join(of.drift) or "none", "yellow" if of.drift else ""),
        ("; ".join(one.text for one in outliers), "yellow"),
        (number(of.captures, ",d"), ""),
        (number(of.temperature_c, ".0f"), "red" if hot else ""),
        (of.throttle, {"now": "bold red", "since boot": "yellow"}.get(of.throttle, "")),
        (number(of.clock_mhz, ",.0f"), ""),
        (number(of.load_1min, ".1f"), ""),
        (last, "red" if of.problem else ""),
    ]


def number(value: float | None, format_spec: str) -> str:
    """Return a formatted figure, or "" for None."""
    return "" if value is None else format(value, format_spec)


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else 200)
