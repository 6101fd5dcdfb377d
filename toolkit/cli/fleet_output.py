"""Print the outcome of every device, for people and for programs; failed devices are included."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from toolkit.cli.output import print_json, print_table, to_json
from toolkit.errors import ExitCode, Problem, UsageError
from toolkit.progress import format_bytes, log_error

if TYPE_CHECKING:
    from toolkit.artifacts.fleet import Deployment, Device, ShadowRun
    from toolkit.deploy import RolloutResult
    from toolkit.fleet import FleetResult

T = TypeVar("T")
SHADOW_COLUMNS = ("device", "shadow", "agree", "counted", "confidence", "latency ms", "class shift", "images/s")
"""Of pairs, the first is the serving release's, the second the candidate's; images/s are without and beside it."""


def require_target(fleet: bool, limit: str | None, *, remedy: str = "use --fleet or --limit PATTERN") -> None:
    """Check that devices were selected: a whole fleet is reached only on request.

    Raises:
        UsageError: neither --fleet nor --limit was used.
    """
    if not fleet and limit is None:
        raise UsageError("no target selected", remedy=remedy)


def print_results(
    result: FleetResult[T],
    columns: Sequence[str],
    row: Callable[[T], Sequence[object]],
    *,
    as_json: bool,
    more: Callable[[T], dict[str, Any]] = lambda _: {},
) -> None:
    """Print a table or JSON of all outcomes, then the failures; exit unless all succeeded.

    `row` returns the cells after the device's name, one for each of `columns`; a failed device has "failed" in the
    first. `more` adds fields to the JSON of a device.
    """
    failed = result.failed
    if as_json:
        rows_json: list[dict[str, Any]] = [
            {"device": device.name} | to_json(value) | more(value) for device, value in result.ok.items()
        ]
        print_json({"devices": rows_json + failures_json(failed), "failed": len(failed)})
    else:
        rows: list[Sequence[object]] = [(device.name, *row(value)) for device, value in result.ok.items()]
        rows += [(device.name, "failed", *[""] * (len(columns) - 1)) for device in failed]
        print_table(("device", *columns), rows)
    exit_with(failed, result.exit_code)


def failures_json(failed: Mapping[Device, Problem]) -> list[dict[str, Any]]:
    """Return the failed devices for JSON."""
    return [{"device": device.name, "error": to_json(problem)} for device, problem in failed.items()]


def exit_with(failed: Mapping[Device, Problem], code: ExitCode) -> None:
    """Print every problem; then exit with `code` unless it is 0."""
    for problem in failed.values():
        log_error(str(problem), what=problem.what, where=problem.where, remedy=problem.remedy)
    if code:
        raise typer.Exit(int(code))


def print_rollout(result: RolloutResult, *, as_json: bool, shadow: Sequence[ShadowRun] = ()) -> None:
    """Print the outcome of each device, comparisons on live frames, and what went wrong; exit unless all succeeded."""
    problems = {device.name: to_json(problem) for device, problem in result.problems.items()}
    if as_json:
        rows = [to_json(each) | {"error": problems.get(each.device)} for each in result.outcomes.values()]
        compared = {"shadow": [to_json(run) for run in shadow]} if shadow else {}
        summary = {"rollout": result.rollout, "stopped": result.stopped, "failed": len(result.failed)}
        print_json({**summary, "devices": rows, **compared})
    else:
        columns = ("device", "outcome", "batch", "release", "sent", "seconds", "passed")
        print_table(columns, map(_outcome_row, result.outcomes.values()))
        if shadow:
            print()
            print_table(SHADOW_COLUMNS, map(_shadow_row, shadow))
    if result.stopped:
        log_error(f"the rollout stopped early: {result.stopped}")
    exit_with(result.problems, result.exit_code)


def _outcome_row(each: Deployment) -> tuple[object, ...]:
    detail = each.reason if each.outcome != "failed" and each.reason else ", ".join(each.gates)
    sent = format_bytes(each.sent_bytes) if each.sent_bytes else ""
    return each.device, each.outcome, each.batch or "", each.release[:12], sent, f"{each.seconds:.1f}", detail


def _shadow_row(run: ShadowRun) -> tuple[object, ...]:
    agree = f"{run.agreed / run.counted:.1%}" if run.counted else ""
    pairs = (run.latency_ms, run.fps)
    latency, fps = (" / ".join("?" if value is None else f"{value:.1f}" for value in pair) for pair in pairs)
    confidence = f"{run.confidence[0]:.2f} / {run.confidence[1]:.2f}"
    return run.device, run.decision, agree, run.counted, confidence, latency, f"{run.class_shift:.1%}", fps
