"""`toolkit status`: what each device serves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli.fleet_options import FleetOptions, with_fleet_options
from toolkit.cli.publish import CredentialsOption, PlainHttpOption

if TYPE_CHECKING:
    from toolkit.deploy import Serving
    from toolkit.deploy.registry.publish import Reported


@with_fleet_options
def status(
    options: FleetOptions,
    quick: Annotated[bool, typer.Option("--quick", help="Do not read the release's files there.")] = False,
    channel: Annotated[
        str | None,
        typer.Option(
            metavar="HOST[:PORT]/NAME:CHANNEL", help="Instead: what devices told the registry that they fetch from."
        ),
    ] = None,
    credentials: CredentialsOption = None,
    plain_http: PlainHttpOption = False,
) -> None:
    """What each device serves, and its drift: from what was deployed last, and of each file from its digest."""
    from toolkit.cli.fleet_output import report
    from toolkit.deploy import status as ask
    from toolkit.errors import ExitCode

    if channel is not None:
        _report_channel(options, channel, credentials, plain=plain_http)
        return
    devices = options.devices()
    with options.store() as store:
        found = ask(devices, store=store, forks=options.forks, progress=options.progress, files=not quick)
    report(found, ("bundle", "release", "since", "drift", "previous"), _row, as_json=options.as_json)
    if any(serving.drift for serving in found.ok.values()):
        raise typer.Exit(int(ExitCode.SOME_FAILED))


def _report_channel(options: FleetOptions, channel: str, credentials: Path | None, *, plain: bool) -> None:
    """What the registry was told; exit code 1 if a device does not serve what the channel holds."""
    from toolkit.cli.output import print_json, print_table
    from toolkit.deploy.registry.oci_registry import Channel
    from toolkit.deploy.registry.publish import reported
    from toolkit.errors import ExitCode

    found = reported(Channel.parse(channel), credentials=credentials, plain=plain)
    if options.as_json:
        print_json({"devices": found})
    else:
        print_table(("device", "release", "as published", "told", "outcome"), map(_told_row, found))
    if not all(told.as_published for told in found):
        raise typer.Exit(int(ExitCode.SOME_FAILED))


def _told_row(told: Reported) -> tuple[object, ...]:
    at, serves = told.at[:19].replace("T", " "), (told.serves or "nothing")[:12]
    outcome = f"{told.outcome}: {told.reason}" if told.reason else told.outcome
    return told.device, serves, "yes" if told.as_published else "no", at, outcome


def _row(serving: Serving) -> tuple[object, ...]:
    verdict = "; ".join(serving.drift) or ("none" if serving.expected else "not by this workspace")
    locks = "".join(f"; locked by {lock}" for lock in (serving.lock, serving.rollout) if lock)
    return (
        serving.name or "nothing",
        (serving.release or "")[:12],
        (serving.since or "")[:19].replace("T", " "),
        verdict + locks,
        (serving.previous or "")[:12],
    )
