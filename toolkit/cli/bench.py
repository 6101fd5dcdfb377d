"""`toolkit bench`: how fast and how right bundles are on the fleet, or here."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli import compared
from toolkit.cli.options import (
    DEFAULT_FORKS,
    DEFAULT_WORKSPACE,
    FleetOption,
    ForksOption,
    InventoryOption,
    JsonOption,
    LimitOption,
    WorkspaceOption,
)
from toolkit.cli.output import print_json, print_table
from toolkit.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from toolkit.artifacts import BenchRecord, Bundle, Workspace
    from toolkit.bench import BenchResult
    from toolkit.bench.kept import Kept
    from toolkit.store import Store


class Scenario(StrEnum):
    """What can be asked for; the accuracy pass is always made."""

    single_stream = "single-stream"
    offline = "offline"
    accuracy = "accuracy"


class Clock(StrEnum):
    """What a latency covers."""

    total = "total"
    inference = "inference"


class Compute(StrEnum):
    """What a device can be told to compute in."""

    f32 = "f32"
    f16 = "f16"
    bf16 = "bf16"


class Form(StrEnum):
    """What records can be exported as."""

    csv = "csv"
    json = "json"
    parquet = "parquet"
    prom = "prom"


def bench(
    bundles: Annotated[
        list[str] | None,
        typer.Argument(metavar="[BUNDLE]...", help="Folders, names or digests; default: the newest of each name."),
    ] = None,
    *,
    fleet: FleetOption = False,
    here: Annotated[bool, typer.Option("--here", help="This machine.")] = False,
    seconds: Annotated[float, typer.Option(min=0.1, help="At least so long; under 60 a run is quick.")] = 60.0,
    queries: Annotated[
        int, typer.Option(min=1, help="At least so many (single-stream); under 1024 it is quick.")
    ] = 1024,
    scenario: Annotated[list[Scenario] | None, typer.Option(help="Which; may be repeated. Default: all.")] = None,
    seed: Annotated[int, typer.Option(help="Of the order of the pictures.")] = 0,
    clock: Annotated[Clock, typer.Option(help="total: decode, fit, inference.")] = Clock.total,
    threads: Annotated[int | None, typer.Option(min=1, help="Default: OpenVINO's choice.")] = None,
    streams: Annotated[int | None, typer.Option(min=1, help="Default: OpenVINO's choice.")] = None,
    precision: Annotated[Compute | None, typer.Option(help="Default: the accelerator's choice.")] = None,
    cool_down: Annotated[float, typer.Option(min=0, help="Seconds of rest before each run but the first.")] = 0.0,
    resume: Annotated[bool, typer.Option("--resume", help="Skip what the same plan measured before.")] = False,
    compare: Annotated[
        bool,
        typer.Option("--compare", help="Hold each device against its past and its like; alone, measures nothing."),
    ] = False,
    export: Annotated[
        tuple[Form, Path] | None,
        typer.Option(
            metavar="FORM FILE", help="Write the records: csv, json, parquet or prom; alone, measures nothing."
        ),
    ] = None,
    limit: LimitOption = None,
    forks: ForksOption = DEFAULT_FORKS,
    inventory: InventoryOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> ExitCode:
    """Measure speed and accuracy; what breaks a rule is kept and marked with the rule's name."""
    from toolkit.artifacts import Workspace
    from toolkit.bench import BenchSpec, bench_fleet, bench_here
    from toolkit.bench.export import write
    from toolkit.bench.kept import kept
    from toolkit.fleet.inventory import find_inventory, load_inventory
    from toolkit.progress import for_people
    from toolkit.store import Store

    somewhere = here or fleet or limit is not None
    if (here and (fleet or limit is not None)) or not (somewhere or compare or export):
        raise UsageError("say where", remedy="--here, or --fleet for all devices, or --limit PATTERN for some of them")
    room, progress = Workspace(workspace), for_people(quiet=as_json)
    spec = BenchSpec(
        scenarios=tuple(one.value for one in scenario or Scenario),
        seconds=seconds,
        queries=queries,
        cool_down_s=cool_down,
        seed=seed,
        threads=threads,
        streams=streams,
        precision=precision.value if precision else None,
        clock=clock.value,
    )
    with Store(room.database) as store:
        chosen = choose(bundles or [], room, store)
        result = None
        if here:
            result = bench_here(chosen, spec, workspace=room, store=store, progress=progress, resume=resume)
        elif somewhere:
            devices = load_inventory(find_inventory(inventory, room), limit)
            result = bench_fleet(
                chosen, devices, spec, workspace=room, store=store, progress=progress, forks=forks, resume=resume
            )
        records = kept(store, chosen) if compare or export else None
    if export and records:
        write(records.records, records.names, *export)
    return show(result, records if compare else None, {one.digest: one.name for one in chosen}, as_json=as_json)


def choose(words: list[str], workspace: Workspace, store: Store) -> list[Bundle]:
    """The bundles that are meant.

    Raises:
        UsageError: there is none.
    """
    from toolkit.artifacts import Bundle
    from toolkit.convert import load_bundle

    if words:
        return [load_bundle(word, workspace, store) for word in words]
    newest = {bundle.name: bundle for bundle in store.all(Bundle)}
    if not newest:
        raise UsageError("there is no bundle yet", where=str(workspace.root), remedy="toolkit convert makes them")
    return list(newest.values())


def show(result: BenchResult | None, kept: Kept | None, names: dict[str, str], *, as_json: bool) -> ExitCode:
    """Every record with its figure and whether it counts, how devices compare, then what could not be measured.

    A device that became slower is a check that failed.
    """
    told, apart = (kept.compared(), kept.outliers()) if kept else ((), ())
    if as_json:
        print_json(measured(result, names) | (compared.plain(told, apart) if kept else {}))
    else:
        if result:
            columns = ("device", "bundle", "scenario", "p90 ms", "samples/s", "accuracy", "validity")
            print_table(columns, (row(record, names) for record in (*result.skipped, *result.records)))
        if kept:
            compared.show(told, apart)
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

    from toolkit.bench import summarise

    found = asdict(record)
    del found["facts"]
    return {"bundle": names.get(record.parent, record.parent), **found, "summary": asdict(summarise(record))}


def row(record: BenchRecord, names: dict[str, str]) -> tuple[str, ...]:
    """The cells of the table."""
    from toolkit.bench import summarise

    summary = summarise(record)
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
