"""`toolkit bench`: measure bundles on devices, or on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli import bench_output
from toolkit.cli.fleet_options import FleetOptions, with_fleet_options
from toolkit.cli.fleet_output import require_target
from toolkit.cli.options import DEVICES
from toolkit.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from toolkit.artifacts.bundle import Bundle
    from toolkit.bench import BenchSpec
    from toolkit.store import Store
    from toolkit.workspace import Workspace

RUN = "Runs"
RESULTS = "Results"


class Scenario(StrEnum):
    """What is measured; accuracy is always included."""

    single_stream = "single-stream"
    offline = "offline"
    accuracy = "accuracy"


class Clock(StrEnum):
    """What a latency covers."""

    total = "total"
    inference = "inference"


class Compute(StrEnum):
    """The number format that a device computes in."""

    f32 = "f32"
    f16 = "f16"
    bf16 = "bf16"


class ExportFormat(StrEnum):
    """File formats of exported records."""

    csv = "csv"
    json = "json"
    parquet = "parquet"
    prom = "prom"


@with_fleet_options
def bench(
    options: FleetOptions,
    bundles: Annotated[
        list[str] | None,
        typer.Argument(metavar="[BUNDLE]...", help="Folders, names or digests. Default: the newest of each name."),
    ] = None,
    *,
    local: Annotated[
        bool, typer.Option("--local", help="This machine instead of devices.", rich_help_panel=DEVICES)
    ] = False,
    experiment: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Experiment whose bundles and [bench] settings to use."),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            metavar="SECONDS",
            help="Minimum length of a run; below 60 it is quick. Default: 60.",
            rich_help_panel=RUN,
        ),
    ] = None,
    min_queries: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Minimum queries of a single-stream run; below 1,024 it is quick. Default: 1024.",
            rich_help_panel=RUN,
        ),
    ] = None,
    scenario: Annotated[
        list[Scenario] | None, typer.Option(help="What to measure; repeatable. Default: all.", rich_help_panel=RUN)
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Seed of the order of images. Default: 0.", rich_help_panel=RUN)
    ] = None,
    clock: Annotated[
        Clock,
        typer.Option(help="What a latency covers; total: decoding, resizing and inference.", rich_help_panel=RUN),
    ] = Clock.total,
    threads: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Inference threads. Default: OpenVINO's choice.", rich_help_panel=RUN),
    ] = None,
    streams: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Inference streams. Default: OpenVINO's choice.", rich_help_panel=RUN),
    ] = None,
    precision: Annotated[
        Compute | None,
        typer.Option(help="Number format to compute in. Default: the accelerator's choice.", rich_help_panel=RUN),
    ] = None,
    cool_down: Annotated[
        float | None,
        typer.Option(
            min=0, metavar="SECONDS", help="Pause before each run but the first. Default: 0.", rich_help_panel=RUN
        ),
    ] = None,
    reconnect_timeout: Annotated[
        float,
        typer.Option(min=0, metavar="SECONDS", help="Wait for a device that is lost.", rich_help_panel=DEVICES),
    ] = 120.0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Skip runs that were measured before in the same way.", rich_help_panel=RUN)
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the planned and the remaining runs.", rich_help_panel=RUN)
    ] = False,
    compare: Annotated[
        bool,
        typer.Option(
            "--compare",
            help="Compare devices with their earlier runs and with peers; on its own, runs no benchmark.",
            rich_help_panel=RESULTS,
        ),
    ] = False,
    export: Annotated[
        tuple[ExportFormat, Path] | None,
        typer.Option(
            metavar="FORMAT FILE",
            help="Export records as csv, json, parquet or prom; on its own, runs no benchmark.",
            rich_help_panel=RESULTS,
        ),
    ] = None,
) -> ExitCode:
    """Measure speed and accuracy of bundles.

    A run that breaks a rule of measurement is stored, marked with the rule's name and left out of comparisons.
    """
    from toolkit.bench.export import write
    from toolkit.bench.load_records import kept
    from toolkit.bench.run import bench_fleet, bench_here, local_device, what_is_left

    remote = options.fleet or options.limit is not None
    if local and remote:
        raise UsageError("--local excludes --fleet and --limit", remedy="use one of them")
    if not (local or compare or export):
        require_target(options.fleet, options.limit, remedy="use --local, --fleet or --limit PATTERN")
    settings = {
        "scenarios": tuple(one.value for one in scenario) if scenario else None,
        "seconds": seconds,
        "queries": min_queries,
        "cool_down_s": cool_down,
        "seed": seed,
        "threads": threads,
        "streams": streams,
        "precision": precision.value if precision else None,
        "clock": clock.value,
    }
    workspace, progress = options.workspace, options.progress
    with options.store() as store:
        chosen, spec = choose(bundles or [], experiment, workspace, store), spec_for(experiment, settings)
        devices = [local_device()] if local else options.devices() if remote else ()
        if dry_run:
            plan = what_is_left(chosen, devices, spec, workspace=workspace, store=store)
            bench_output.show_plan(plan, as_json=options.as_json)
            return ExitCode.DONE
        result = None
        if local:
            result = bench_here(chosen, spec, workspace=workspace, store=store, progress=progress, resume=resume)
        elif remote:
            result = bench_fleet(
                chosen,
                devices,
                spec,
                workspace=workspace,
                store=store,
                progress=progress,
                forks=options.forks,
                resume=resume,
                patience_s=reconnect_timeout,
            )
        stored = kept(store, chosen) if compare or export else None
    if export and stored:
        write(stored.records, stored.names, *export)
    names = {bundle.digest: bundle.name for bundle in chosen}
    return bench_output.show(result, stored if compare else None, names, as_json=options.as_json)


def spec_for(experiment: Path | None, settings: Mapping[str, object]) -> BenchSpec:
    """Return the experiment's [bench], overridden by the options that are not None."""
    from dataclasses import replace

    from toolkit.bench import BenchSpec, spec_of
    from toolkit.experiment.load import load_experiment

    spec = spec_of(load_experiment(experiment).bench) if experiment else BenchSpec()
    return replace(spec, **{name: value for name, value in settings.items() if value is not None})  # type: ignore[arg-type]  # each is a field's own


def choose(arguments: list[str], experiment: Path | None, workspace: Workspace, store: Store) -> list[Bundle]:
    """Return the bundles to measure.

    Raises:
        UsageError: there are none.
    """
    from toolkit.artifacts.bundle import Bundle
    from toolkit.bench.targets import bundles_of
    from toolkit.bundle.resolve import load_bundle
    from toolkit.experiment.load import load_experiment

    if arguments:
        return [load_bundle(argument, workspace, store) for argument in arguments]
    known = bundles_of(load_experiment(experiment).name, store) if experiment else store.all(Bundle)
    newest = {bundle.name: bundle for bundle in known}
    if not newest:
        of = f" of {experiment}" if experiment else ""
        raise UsageError(f"there is no bundle{of} yet", where=str(workspace.root), remedy="create one: toolkit convert")
    return list(newest.values())
