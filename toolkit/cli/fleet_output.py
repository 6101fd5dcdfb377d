"""What became of each device of a fleet, for people and for programs: every device is in it, failed or not."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from toolkit.cli.output import plain, print_json, print_table
from toolkit.errors import ExitCode, Problem, UsageError

if TYPE_CHECKING:
    from toolkit.artifacts.fleet import Deployment, Device
    from toolkit.deploy import RolloutResult
    from toolkit.fleet import FleetResult

T = TypeVar("T")


def require_target(fleet: bool, limit: str | None) -> None:
    """Whole fleets are touched only on demand.

    Raises:
        UsageError: neither --fleet nor --limit was given.
    """
    if not fleet and limit is None:
        raise UsageError(
            "say where", remedy="--fleet for all devices of the inventory, or --limit PATTERN for some of them"
        )


def report(
    result: FleetResult[T],
    columns: Sequence[str],
    row: Callable[[T], Sequence[object]],
    *,
    as_json: bool,
    more: Callable[[T], dict[str, Any]] = lambda _: {},
) -> None:
    """The table or the JSON of all outcomes, then the failures with their remedies, then the exit code.

    `row` gives the cells after the device's name, one for each of `columns`; a failed device has "failed" in the first.
    `more` is what a program is told besides the value itself.
    """
    failed = result.failed
    if as_json:
        done: list[dict[str, Any]] = [
            {"device": device.name} | plain(value) | more(value) for device, value in result.ok.items()
        ]
        lost = [{"device": device.name, "error": plain(problem)} for device, problem in failed.items()]
        print_json({"devices": done + lost, "failed": len(lost)})
    else:
        rows: list[Sequence[object]] = [(device.name, *row(value)) for device, value in result.ok.items()]
        rows += [(device.name, "failed", *[""] * (len(columns) - 1)) for device in failed]
        print_table(("device", *columns), rows)
    fail_with(failed, result.exit_code)


def fail_with(failed: Mapping[Device, Problem], code: ExitCode) -> None:
    """Say every problem; then leave with `code`, unless it is that of success."""
    for problem in failed.values():
        print(f"error: {problem}", file=sys.stderr)
    if code:
        raise typer.Exit(int(code))


def report_rollout(result: RolloutResult, *, as_json: bool) -> None:
    """The outcome of each device in one table, then what went wrong, then the exit code."""
    problems = {device.name: plain(problem) for device, problem in result.problems.items()}
    if as_json:
        rows = [plain(each) | {"error": problems.get(each.device)} for each in result.outcomes.values()]
        said = {"rollout": result.rollout, "stopped": result.stopped, "devices": rows, "failed": len(result.failed)}
        print_json(said)
    else:
        columns = ("device", "outcome", "batch", "release", "sent", "seconds", "passed")
        print_table(columns, map(_outcome, result.outcomes.values()))
    if result.stopped:
        print(f"error: the rollout ended early: {result.stopped}", file=sys.stderr)
    fail_with(result.problems, result.exit_code)


def _outcome(each: Deployment) -> tuple[object, ...]:
    told = each.reason if each.outcome != "failed" and each.reason else ", ".join(each.gates)
    sent = f"{each.sent_bytes / 1e6:,.1f} MB" if each.sent_bytes else ""
    return each.device, each.outcome, each.batch or "", each.release[:12], sent, f"{each.seconds:.1f}", told
