"""`toolkit bench`: how fast and how right bundles are on the fleet, or here."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli import bench_output
from toolkit.cli.fleet_options import FleetOptions, with_fleet_options
from toolkit.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from toolkit.artifacts.bundle import Bundle
    from toolkit.bench import BenchSpec
    from toolkit.store import Store
    from toolkit.workspace import Workspace


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


@with_fleet_options
def bench(
    options: FleetOptions,
    bundles: Annotated[
        list[str] | None,
        typer.Argument(metavar="[BUNDLE]...", help="Folders, names or digests; default: the newest of each name."),
    ] = None,
    *,
    here: Annotated[bool, typer.Option("--here", help="This machine.")] = False,
    experiment: Annotated[
        Path | None, typer.Option(help="All bundles of this experiment file, measured as its table [bench] says.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(min=0.1, help="At least so long; under 60 a run is quick. Default: 60.")
    ] = None,
    queries: Annotated[
        int | None,
        typer.Option(min=1, help="At least so many (single-stream); under 1024 it is quick. Default: 1024."),
    ] = None,
    scenario: Annotated[list[Scenario] | None, typer.Option(help="Which; may be repeated. Default: all.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the order of the images. Default: 0.")] = None,
    clock: Annotated[Clock, typer.Option(help="total: decode, fit, inference.")] = Clock.total,
    threads: Annotated[int | None, typer.Option(min=1, help="Default: OpenVINO's choice.")] = None,
    streams: Annotated[int | None, typer.Option(min=1, help="Default: OpenVINO's choice.")] = None,
    precision: Annotated[Compute | None, typer.Option(help="Default: the accelerator's choice.")] = None,
    cool_down: Annotated[
        float | None, typer.Option(min=0, help="Seconds of rest before each run but the first. Default: 0.")
    ] = None,
    patience: Annotated[float, typer.Option(min=0, help="Seconds to wait for a device that is lost.")] = 120.0,
    resume: Annotated[bool, typer.Option("--resume", help="Skip what was measured before in the same way.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what is planned and what is left of it.")] = False,
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
) -> ExitCode:
    """Measure speed and accuracy; what breaks a rule is kept and marked with the rule's name."""
    from toolkit.bench.export import write
    from toolkit.bench.load_records import kept
    from toolkit.bench.run import bench_fleet, bench_here, local_device, what_is_left

    there = options.fleet or options.limit is not None
    if (here and there) or not (here or there or compare or export):
        raise UsageError("say where", remedy="--here, or --fleet for all devices, or --limit PATTERN for some of them")
    asked = {
        "scenarios": tuple(one.value for one in scenario) if scenario else None,
        "seconds": seconds,
        "queries": queries,
        "cool_down_s": cool_down,
        "seed": seed,
        "threads": threads,
        "streams": streams,
        "precision": precision.value if precision else None,
        "clock": clock.value,
    }
    room, progress = options.workspace, options.progress
    with options.store() as store:
        chosen, spec = choose(bundles or [], experiment, room, store), spec_for(experiment, asked)
        devices = [local_device()] if here else options.devices() if there else ()
        if dry_run:
            bench_output.show_plan(
                what_is_left(chosen, devices, spec, workspace=room, store=store), as_json=options.as_json
            )
            return ExitCode.DONE
        result = None
        if here:
            result = bench_here(chosen, spec, workspace=room, store=store, progress=progress, resume=resume)
        elif there:
            result = bench_fleet(
                chosen,
                devices,
                spec,
                workspace=room,
                store=store,
                progress=progress,
                forks=options.forks,
                resume=resume,
                patience_s=patience,
            )
        records = kept(store, chosen) if compare or export else None
    if export and records:
        write(records.records, records.names, *export)
    names = {bundle.digest: bundle.name for bundle in chosen}
    return bench_output.show(result, records if compare else None, names, as_json=options.as_json)


def spec_for(experiment: Path | None, asked: Mapping[str, object]) -> BenchSpec:
    """As the experiment file says, where there is one; what was asked for on the command line counts before it."""
    from dataclasses import replace

    from toolkit.bench import BenchSpec, spec_of
    from toolkit.experiment import schema as experiments

    spec = spec_of(experiments.load(experiment).bench) if experiment else BenchSpec()
    return replace(spec, **{name: value for name, value in asked.items() if value is not None})  # type: ignore[arg-type]  # each is a field's own


def choose(words: list[str], experiment: Path | None, workspace: Workspace, store: Store) -> list[Bundle]:
    """The bundles that are meant.

    Raises:
        UsageError: there is none.
    """
    from toolkit.artifacts.bundle import Bundle
    from toolkit.bench.targets import bundles_of
    from toolkit.bundle.resolve import load_bundle
    from toolkit.experiment import schema as experiments

    if words:
        return [load_bundle(word, workspace, store) for word in words]
    found = bundles_of(experiments.load(experiment).name, store) if experiment else store.all(Bundle)
    newest = {bundle.name: bundle for bundle in found}
    if not newest:
        of = f" of {experiment}" if experiment else ""
        raise UsageError(f"there is no bundle{of} yet", where=str(workspace.root), remedy="toolkit convert makes them")
    return list(newest.values())
