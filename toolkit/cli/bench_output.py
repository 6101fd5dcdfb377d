"""Print bench results: figures, validity, comparisons between devices, and the remaining runs of a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolkit.cli import comparison_output
from toolkit.cli.output import print_json, print_table
from toolkit.errors import ExitCode
from toolkit.progress import format_bytes, log_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from toolkit.artifacts.bench import BenchRecord, VariantChoice, VariantResult
    from toolkit.bench import BenchResult
    from toolkit.bench.choose import ChooseResult
    from toolkit.bench.load_records import StoredRecords
    from toolkit.bench.run import RemainingRuns


def show(result: BenchResult | None, stored: StoredRecords | None, names: dict[str, str], *, as_json: bool) -> ExitCode:
    """Print every record with its figures and validity, the comparisons, then what could not be measured.

    Returns exit code 1 if a device became slower or a run failed.
    """
    compared, outliers = (stored.compared(), stored.outliers()) if stored else ((), ())
    if as_json:
        print_json(result_json(result, names) | (comparison_output.to_json(compared, outliers) if stored else {}))
    else:
        if result:
            columns = ("device", "bundle", "scenario", "p90 ms", "images/s", "accuracy", "validity")
            print_table(columns, (row(record, names) for record in (*result.skipped, *result.records)))
        if stored:
            comparison_output.show(compared, outliers)
    for problem in result.problems if result else ():
        log_error(str(problem), what=problem.what, where=problem.where, remedy=problem.remedy)
    slower = any(each.change == "slower" for each in compared)
    return ExitCode.SOME_FAILED if slower else result.exit_code if result else ExitCode.DONE


def show_choices(result: ChooseResult, *, as_json: bool) -> ExitCode:
    """Print every variant on each kind of device, and which one is the fastest; then what kept others from being chosen."""
    if as_json:
        print_json({"choices": result.choices, "failed": result.problems})
    else:
        columns = ("kind", "device", "variant", "p90 ms", "accuracy", "size", "verdict")
        rows = (_variant_row(choice, variant) for choice in result.choices for variant in choice.variants)
        print_table(columns, rows)
    for problem in result.problems:
        log_error(str(problem), what=problem.what, where=problem.where, remedy=problem.remedy)
    return result.exit_code


def _variant_row(choice: VariantChoice, variant: VariantResult) -> tuple[str, ...]:
    verdict = (
        f"fastest: {choice.reason}"
        if variant.bundle == choice.bundle
        else variant.excluded and f"out: {variant.excluded}"
    )
    figures = (number(variant.p90_ms, ".2f"), number(variant.accuracy, ".3%"), format_bytes(variant.size_bytes))
    return choice.kind, choice.device, variant.name, *figures, verdict


def result_json(result: BenchResult | None, names: dict[str, str]) -> dict[str, object]:
    """Return the records of this plan, measured now or before, for JSON."""
    if result is None:
        return {"records": [], "failed": []}
    records = (*result.skipped, *result.records)
    return {"records": [record_json(record, names) for record in records], "failed": result.problems}


def record_json(record: BenchRecord, names: dict[str, str]) -> dict[str, object]:
    """Return one record with its figures and samples for JSON; the device's facts are in the database."""
    from dataclasses import asdict

    from toolkit.bench import summarize

    fields = asdict(record)
    del fields["facts"]
    return {"bundle": names.get(record.parent, record.parent), **fields, "summary": asdict(summarize(record))}


def row(record: BenchRecord, names: dict[str, str]) -> tuple[str, ...]:
    """Return the cells of the table."""
    from toolkit.bench import summarize

    summary = summarize(record)
    figures = (number(summary.p90_ms, ".2f"), number(summary.samples_per_s, ".1f"), number(summary.accuracy, ".3%"))
    return record.device, names.get(record.parent, record.parent[:12]), record.scenario, *figures, validity(record)


def number(value: float | None, format_spec: str) -> str:
    """Return a formatted figure, or "" for None."""
    return "" if value is None else format(value, format_spec)


def validity(record: BenchRecord) -> str:
    """Return "valid", "quick", or the rules that the record breaks."""
    if record.broken_rules:
        return "breaks " + ", ".join(record.broken_rules)
    return "quick" if record.quick else "valid"


def show_plan(plans: Sequence[RemainingRuns], *, as_json: bool) -> None:
    """Print how many runs each device has, and which remain."""
    if as_json:
        print_json({"devices": plans})
        return
    rows = ((each.device, each.total, each.total - len(each.remaining), len(each.remaining)) for each in plans)
    print_table(("device", "runs", "measured", "remaining"), rows)
    for each in plans:
        for step in each.remaining:
            print(f"  {each.device}: {step.name}, {step.scenario}")
