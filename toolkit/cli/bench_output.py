"""What a bench measured, for people and for programs: figures, validity, how devices compare, what is left of a plan."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from toolkit.cli import comparison_output
from toolkit.cli.output import print_json, print_table
from toolkit.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from toolkit.artifacts.bench import BenchRecord
    from toolkit.bench import BenchResult
    from toolkit.bench.load_records import Kept
    from toolkit.bench.run import Left


def show(result: BenchResult | None, kept: Kept | None, names: dict[str, str], *, as_json: bool) -> ExitCode:
    """Every record with its figure and whether it counts, how devices compare, then what could not be measured.

    A device that became slower is a check that failed.
    """
    told, apart = (kept.compared(), kept.outliers()) if kept else ((), ())
    if as_json:
        print_json(measured(result, names) | (comparison_output.plain(told, apart) if kept else {}))
    else:
        if result:
            columns = ("device", "bundle", "scenario", "p90 ms", "samples/s", "accuracy", "validity")
            print_table(columns, (row(record, names) for record in (*result.skipped, *result.records)))
        if kept:
            comparison_output.show(told, apart)
    for problem in result.problems if result else ():
        print(f"error: {problem}", file=sys.stderr)
    slower = any(each.change == "slower" for each in told)
    return ExitCode.SOME_FAILED if slower else result.exit_code if result else ExitCode.DONE


def measured(result: BenchResult | None, names: dict[str, str]) -> dict[str, object]:
    """What was measured just now, or before by the same plan, for programs."""
    if result is None:
        return {"records": [], "failed": []}
    records = (*result.skipped, *result.records)
    return {"records": [described(record, names) for record in records], "failed": result.problems}


def described(record: BenchRecord, names: dict[str, str]) -> dict[str, object]:
    """A record for programs: its figures and its samples; the device's facts are in the store."""
    from dataclasses import asdict

    from toolkit.bench import summarize

    found = asdict(record)
    del found["facts"]
    return {"bundle": names.get(record.parent, record.parent), **found, "summary": asdict(summarize(record))}


def row(record: BenchRecord, names: dict[str, str]) -> tuple[str, ...]:
    """The cells of the table."""
    from toolkit.bench import summarize

    summary = summarize(record)
    figures = (number(summary.p90_ms, ".2f"), number(summary.samples_per_s, ".1f"), number(summary.accuracy, ".3%"))
    return record.device, names.get(record.parent, record.parent[:12]), record.scenario, *figures, verdict(record)


def number(value: float | None, form: str) -> str:
    """A figure, or nothing where there is none."""
    return "" if value is None else format(value, form)


def verdict(record: BenchRecord) -> str:
    """Valid, quick, or the rules that it breaks."""
    if record.broken_rules:
        return "breaks " + ", ".join(record.broken_rules)
    return "quick" if record.quick else "valid"


def show_plan(planned: Sequence[Left], *, as_json: bool) -> None:
    """How many runs each device was given, and which of them are left."""
    if as_json:
        print_json({"devices": planned})
        return
    rows = ((each.device, each.whole, each.whole - len(each.left), len(each.left)) for each in planned)
    print_table(("device", "runs", "measured", "left"), rows)
    for each in planned:
        for step in each.left:
            print(f"  {each.device}: {step.name}, {step.scenario}")
