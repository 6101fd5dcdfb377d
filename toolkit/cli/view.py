"""`toolkit view`: the live app of a device in the browser, through SSH."""

from __future__ import annotations

import threading
from typing import Annotated

import typer

from toolkit.cli.fleet_options import load_devices
from toolkit.cli.options import (
    DEFAULT_WORKSPACE,
    AskPassOption,
    InventoryOption,
    JsonOption,
    OpenOption,
    WorkspaceOption,
)
from toolkit.cli.output import print_json


def view(
    device: Annotated[str, typer.Argument(metavar="DEVICE", help="Name in the inventory.")],
    source: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="Source of frames for a separate app on the device: /dev/video0, picamera, a folder there, or pattern.",
        ),
    ] = None,
    show: OpenOption = True,
    inventory: InventoryOption = None,
    ask_pass: AskPassOption = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Open the live app of a device.

    Runs until Ctrl-C. If no app runs on the device, one is started on its current release.
    """
    from toolkit.errors import UsageError
    from toolkit.fleet.app_tunnel import open_app
    from toolkit.progress import create_progress
    from toolkit.workspace import Workspace

    devices = load_devices(Workspace(workspace), inventory, device, ask_pass)
    if len(devices) != 1:
        names = ", ".join(one.name for one in devices)
        raise UsageError(
            f"the pattern matches {len(devices)} devices: {names}", where=device, remedy="name one of them"
        )
    with open_app(devices[0], source) as app:
        if as_json:
            print_json(app)
        else:
            typer.echo(app.url)
        origin = "started for this view" if app.started else "the app that the device runs"
        create_progress(quiet=as_json).log(f"{app.device}: {origin}; press Ctrl-C to stop")
        if show:
            typer.launch(app.url)
        _until_interrupted()


def _until_interrupted() -> None:
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        typer.echo("stopped", err=True)
