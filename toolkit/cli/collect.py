"""`toolkit collect`: fetch the images that devices captured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli.fleet_options import FleetOptions, with_fleet_options

if TYPE_CHECKING:
    from toolkit.captures.collect import Collected

COLUMNS = ("new", "known", "near duplicates", "refused", "deleted there", "received")


@with_fleet_options
def collect(
    options: FleetOptions,
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete captures from the devices once they are safely stored here.")
    ] = False,
    bandwidth: Annotated[
        str | None,
        typer.Option(
            metavar="RATE", help="Bytes per second for all devices together, such as 500k or 2M. Default: no limit."
        ),
    ] = None,
) -> None:
    """Fetch the images that devices captured.

    Fetches new captures, checks every digest, and stores each image once; after an interruption, the next call
    continues. Skips images that look like a stored one, except those captured at random or on request. Exit code 1 if a
    device cannot be reached or sends invalid captures; the others are still collected.
    """
    from toolkit.captures.collect import CollectOptions
    from toolkit.captures.collect import collect as fetch
    from toolkit.cli.fleet_output import print_results
    from toolkit.errors import ExitCode
    from toolkit.fleet.transfer.stream import parse_rate_limit
    from toolkit.progress import log_error

    devices = options.devices()
    limit = parse_rate_limit(bandwidth) if bandwidth else None
    how = CollectOptions(bandwidth=limit, delete=delete, forks=options.forks)
    with options.store() as store:
        result = fetch(devices, options.workspace, store, how, options.progress)
    for device, done in result.ok.items():
        for reason in done.reasons:
            log_error(f"{device.name}: capture rejected: {reason}")
    print_results(result, COLUMNS, _row, as_json=options.as_json)
    if any(done.refused for done in result.ok.values()):
        raise typer.Exit(int(ExitCode.SOME_FAILED))


def _row(done: Collected) -> tuple[object, ...]:
    from toolkit.progress import format_bytes

    counts = (done.stored, done.known, done.near_duplicates, done.refused, done.deleted)
    return *counts, format_bytes(done.received_bytes)
