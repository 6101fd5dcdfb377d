"""`toolkit bench`: measure bundles on devices, or on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli import bench_output
from toolkit.cli.bench_options import PANEL, with_bench_options
from toolkit.cli.fleet_options import FleetOptions, with_fleet_options
from toolkit.cli.fleet_output import require_target
from toolkit.cli.options import DEVICES
from toolkit.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from toolkit.artifacts.bundle import Bundle
    from toolkit.artifacts.fleet import Device
    from toolkit.bench import BenchSpec
    from toolkit.store import Store
    from toolkit.workspace import Workspace

RESULTS = "Results"


class ExportFormat(StrEnum):
    """File formats of exported records."""

    csv = "csv"
    json = "json"
    parquet = "parquet"
    prom = "prom"


@with_fleet_options
@with_bench_options
def bench(
    options: FleetOptions,
    bundles: Annotated[
        list[str] | None,
        typer.Argument(metavar="BUNDLE", help="Folders, names or digests. Default: the newest of each name."),
    ] = None,
    *,
    local: Annotated[
        bool, typer.Option("--local", help="This machine instead of devices.", rich_help_panel=DEVICES)
    ] = False,
    experiment: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Experiment whose bundles and [bench] settings to use."),
    ] = None,
    settings: dict[str, object],
    reconnect_timeout: Annotated[
        float,
        typer.Option(min=0, metavar="SECONDS", help="Time to wait for a lost device.", rich_help_panel=DEVICES),
    ] = 120.0,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Skip runs that were measured before in the same way.", rich_help_panel=PANEL),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the planned and the remaining runs.", rich_help_panel=PANEL)
    ] = False,
    choose_variant: Annotated[
        bool,
        typer.Option(
            "--choose",
            help="Measure every variant of each bundle's model on one device of each kind, and store the fastest.",
            rich_help_panel=PANEL,
        ),
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
    from toolkit.bench.load_records import load_records
    from toolkit.bench.run import bench_fleet, bench_local, local_device, remaining_runs
    from toolkit.cli.extras import require

    remote = options.fleet or options.limit is not None
    if local and remote:
        raise UsageError("--local excludes --fleet and --limit", remedy="use one of them")
    if local:
        require("numpy", "cv2", "openvino")
    if not (local or compare or export):
        require_target(options.fleet, options.limit, remedy="use --local, --fleet or --limit PATTERN")
    if choose_variant and (not remote or dry_run or compare or export):
        raise UsageError(
            "--choose measures devices, and excludes --local, --dry-run, --compare and --export",
            remedy="toolkit bench BUNDLE --choose --fleet",
        )
    workspace, progress = options.workspace, options.progress
    with options.store() as store:
        chosen, spec = choose(bundles or [], experiment, workspace, store), spec_for(experiment, settings)
        devices = [local_device()] if local else options.devices() if remote else ()
        if choose_variant:
            return _choose_variants(options, chosen, devices, spec, store, resume=resume)
        if dry_run:
            plan = remaining_runs(chosen, devices, spec, workspace=workspace, store=store)
            bench_output.show_plan(plan, as_json=options.as_json)
            return ExitCode.DONE
        result = None
        if local:
            result = bench_local(chosen, spec, workspace=workspace, store=store, progress=progress, resume=resume)
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
                reconnect_timeout_s=reconnect_timeout,
            )
        stored = load_records(store, chosen) if compare or export else None
    if export and stored:
        write(stored.records, stored.names, *export)
    names = {bundle.digest: bundle.name for bundle in chosen}
    return bench_output.show(result, stored if compare else None, names, as_json=options.as_json)


def _choose_variants(
    options: FleetOptions,
    bundles: Sequence[Bundle],
    devices: Sequence[Device],
    spec: BenchSpec,
    store: Store,
    *,
    resume: bool,
) -> ExitCode:
    """Choose the fastest variant for each kind of device, and print all variants."""
    from toolkit.bench.choose import choose_variants
    from toolkit.deploy.compatibility import incompatibilities

    result = choose_variants(
        bundles,
        devices,
        spec,
        incompatibilities,
        workspace=options.workspace,
        store=store,
        progress=options.progress,
        forks=options.forks,
        resume=resume,
    )
    return bench_output.show_choices(result, as_json=options.as_json)


def spec_for(experiment: Path | None, settings: Mapping[str, object]) -> BenchSpec:
    """Return the experiment's [bench], overridden by `settings`."""
    from dataclasses import replace

    from toolkit.bench import BenchSpec
    from toolkit.experiment.load import load_experiment

    return replace(load_experiment(experiment).bench if experiment else BenchSpec(), **settings)  # type: ignore[arg-type]  # each is a field's own


def choose(arguments: list[str], experiment: Path | None, workspace: Workspace, store: Store) -> list[Bundle]:
    """Return the bundles to measure.

    Raises:
        UsageError: there are none.
    """
    from toolkit.artifacts.bundle import Bundle
    from toolkit.bench.targets import find_bundles
    from toolkit.bundle.resolve import load_bundle
    from toolkit.experiment.load import load_experiment

    if arguments:
        return [load_bundle(argument, workspace, store) for argument in arguments]
    known = find_bundles(load_experiment(experiment).name, store) if experiment else store.all(Bundle)
    newest = {bundle.name: bundle for bundle in known}
    if not newest:
        of = f" of {experiment}" if experiment else ""
        raise UsageError(f"no bundle{of} yet", where=str(workspace.root), remedy="create one: toolkit convert")
    return list(newest.values())
