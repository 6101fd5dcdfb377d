"""`toolkit view`: the live image of a device in the browser, through SSH."""

from __future__ import annotations

import threading
from typing import Annotated

import typer

from toolkit.cli.options import DEFAULT_WORKSPACE, InventoryOption, JsonOption, OpenOption, WorkspaceOption
from toolkit.cli.output import print_json


def view(
    device: Annotated[str, typer.Argument(help="Its name in the inventory.")],
    source: Annotated[
        str | None,
        typer.Option(
            help="Start an app of its own there, with this for a camera: /dev/video0, picamera, a folder there, pattern."
        ),
    ] = None,
    show: OpenOption = True,
    inventory: InventoryOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Look at a device's live app until Ctrl-C; where none runs, one is started on the release that it serves."""
    from toolkit.errors import UsageError
    from toolkit.fleet.app_tunnel import live
    from toolkit.fleet.inventory.load import find_inventory, load_inventory
    from toolkit.progress import create_progress
    from toolkit.workspace import Workspace

    found = load_inventory(find_inventory(inventory, Workspace(workspace)), device)
    if len(found) != 1:
        names = ", ".join(one.name for one in found)
        raise UsageError(f"names {len(found)} devices: {names}", where=device, remedy="name one of them")
    with live(found[0], source) as seen:
        if as_json:
            print_json(seen)
        else:
            typer.echo(seen.url)
        word = "started for this view" if seen.started else "the one that the device serves"
        create_progress(quiet=as_json).log(f"{seen.device}: {word}; Ctrl-C ends it")
        if show:
            typer.launch(seen.url)
        _until_interrupted()


def _until_interrupted() -> None:
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        typer.echo("ended", err=True)
