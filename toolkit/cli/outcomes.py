"""What became of each device of a fleet, for people and for programs: every device is in it, failed or not."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from toolkit.cli.output import plain, print_json, print_table
from toolkit.errors import UsageError

if TYPE_CHECKING:
    from toolkit.fleet import FleetResult

T = TypeVar("T")


def say_where(fleet: bool, limit: str | None) -> None:
    """Whole fleets are touched only on demand.

    Raises:
        UsageError: neither --fleet nor --limit was given.
    """
    if not fleet and limit is None:
        raise UsageError(
            "say where", remedy="--fleet for all devices of the inventory, or --limit PATTERN for some of them"
        )


def report(
    result: FleetResult[T], columns: Sequence[str], row: Callable[[T], Sequence[object]], *, as_json: bool
) -> None:
    """The table or the JSON of all outcomes, then the failures with their remedies, then the exit code.

    `row` gives the cells after the device's name, one for each of `columns`; a failed device has "failed" in the first.
    """
    failed = result.failed
    if as_json:
        done: list[dict[str, Any]] = [{"device": device.name} | plain(value) for device, value in result.ok.items()]
        lost = [{"device": device.name, "error": plain(problem)} for device, problem in failed.items()]
        print_json({"devices": done + lost, "failed": len(lost)})
    else:
        rows: list[Sequence[object]] = [(device.name, *row(value)) for device, value in result.ok.items()]
        rows += [(device.name, "failed", *[""] * (len(columns) - 1)) for device in failed]
        print_table(("device", *columns), rows)
    for problem in failed.values():
        print(f"error: {problem}", file=sys.stderr)
    if failed:
        raise typer.Exit(int(result.exit_code))
