"""`toolkit status`: what each device serves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli.fleet_options import FleetOptions, with_fleet_options
from toolkit.cli.publish import CredentialsOption, PlainHttpOption

if TYPE_CHECKING:
    from toolkit.deploy import DeviceStatus
    from toolkit.deploy.components import DeviceComponents
    from toolkit.deploy.registry.device_reports import DeviceReport


@with_fleet_options
def status(
    options: FleetOptions,
    component: Annotated[
        str | None,
        typer.Option(
            metavar="NAME[<VERSION]",
            help="Package to search for instead, in all versions or those matching <, <=, ==, >= or >.",
        ),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Skip verifying the release's files on the device.")] = False,
    channel: Annotated[
        str | None,
        typer.Option(
            metavar="HOST[:PORT]/NAME:CHANNEL",
            help="Channel whose devices' reports to show instead of connecting to devices.",
        ),
    ] = None,
    credentials: CredentialsOption = None,
    plain_http: PlainHttpOption = False,
) -> None:
    """Show what each device serves.

    Also shows drift: a release that is not the last one deployed, or files whose digests differ. Exit code 1 on drift.
    With --component, lists the devices that have a Python or Debian package installed, such as one with a vulnerability.
    Exit code 1 if a device has it or could not be asked.
    """
    from toolkit.cli.fleet_output import print_results
    from toolkit.deploy import status as fetch_status
    from toolkit.errors import ExitCode

    if channel is not None:
        _report_channel(options, channel, credentials, plain=plain_http)
        return
    if component is not None:
        _report_component(options, component)
        return
    devices = options.devices()
    with options.store() as store:
        result = fetch_status(devices, store=store, forks=options.forks, progress=options.progress, files=not quick)
    columns: tuple[str, ...] = ("bundle", "release", "since", "drift", "previous", "agent")
    if any(serving.variant_reason for serving in result.ok.values()):
        columns += ("variant",)
    print_results(
        result,
        columns,
        lambda serving: (*_row(serving), serving.variant_reason)[: len(columns)],
        as_json=options.as_json,
    )
    if any(serving.drift for serving in result.ok.values()):
        raise typer.Exit(int(ExitCode.SOME_FAILED))


def _report_component(options: FleetOptions, component: str) -> None:
    """Print which devices run a component; exit code 1 if one does."""
    from toolkit.cli.fleet_output import print_results
    from toolkit.deploy.components import find_component
    from toolkit.errors import ExitCode
    from toolkit.fleet.installed_packages import ComponentQuery

    query = ComponentQuery.parse(component)
    devices, bills = options.devices(), options.workspace.root / "sboms"
    with options.store() as store:
        result = find_component(
            query, devices, store=store, bills=bills, forks=options.forks, progress=options.progress
        )
    print_results(result, ("affected", "packages", "known from"), _component_row, as_json=options.as_json)
    if any(each.packages for each in result.ok.values()):
        raise typer.Exit(int(ExitCode.SOME_FAILED))


def _component_row(each: DeviceComponents) -> tuple[object, ...]:
    packages = ", ".join(
        f"{one.name} {one.version} ({one.kind}{', container' if one.place == 'container' else ''})"
        for one in each.packages
    )
    known = "what is installed" if each.source == "installed" else f"its release's bill of materials: {each.reason}"
    return "yes" if each.packages else "no", packages, known


def _report_channel(options: FleetOptions, channel: str, credentials: Path | None, *, plain: bool) -> None:
    """Print the devices' reports in the registry; exit code 1 if one neither serves the channel's release nor waits for it."""
    from toolkit.cli.output import print_json, print_table
    from toolkit.deploy.registry.device_reports import fetch_reports
    from toolkit.errors import ExitCode

    reports = fetch_reports(channel, credentials=credentials, plain=plain)
    if options.as_json:
        print_json({"devices": reports})
    else:
        columns: tuple[str, ...] = ("device", "release", "as published", "reported", "outcome")
        if any(each.variant for each in reports):
            columns += ("variant",)
        print_table(columns, (_report_row(each)[: len(columns)] for each in reports))
    if not all(each.as_published or each.outcome == "waiting" for each in reports):
        raise typer.Exit(int(ExitCode.SOME_FAILED))


def _report_row(report: DeviceReport) -> tuple[object, ...]:
    at, serves = report.at[:19].replace("T", " "), (report.serves or "nothing")[:12]
    outcome = f"{report.outcome}: {report.reason}" if report.reason else report.outcome
    variant = f"{report.variant}: {report.variant_reason}" if report.variant else ""
    return report.device, serves, "yes" if report.as_published else "no", at, outcome, variant


def _row(serving: DeviceStatus) -> tuple[object, ...]:
    verdict = "; ".join(serving.drift) or ("none" if serving.expected else "not deployed from this workspace")
    locks = "".join(f"; locked by {lock}" for lock in (serving.lock, serving.rollout) if lock)
    memory = "; in memory: a restart forgets it" if serving.volatile else ""
    return (
        serving.name or "nothing",
        (serving.release or "")[:12],
        (serving.since or "")[:19].replace("T", " "),
        verdict + locks + memory,
        (serving.previous or "")[:12],
        serving.agent,
    )
