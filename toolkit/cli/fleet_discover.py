"""`toolkit fleet discover`: find machines of the local network for the inventory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli.options import DEFAULT_WORKSPACE, InventoryOption, JsonOption, WorkspaceOption

if TYPE_CHECKING:
    from toolkit.workspace import Workspace


def discover(
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.1, max=120, metavar="SECONDS", help="Time to wait for answers.")
    ] = 3.0,
    interface: Annotated[
        list[str] | None,
        typer.Option("--interface", metavar="ADDRESS", help="This machine's address to ask from. Default: all."),
    ] = None,
    inventory: InventoryOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Propose inventory lines for nearby machines.

    Asks by multicast DNS for machines that announce SSH or themselves, as Raspberry Pi OS does with avahi-daemon. Prints
    YAML for those that the inventory does not have yet; changes nothing. Verify host keys before you log in.
    """
    from toolkit.cli.output import print_json
    from toolkit.fleet.discovery import discover_hosts, inventory_lines
    from toolkit.progress import create_progress
    from toolkit.workspace import Workspace

    known = _known_hosts(inventory, Workspace(workspace))
    hosts = tuple(
        replace(host, known=bool({host.name, host.name.removesuffix(".local"), *host.addresses} & known))
        for host in discover_hosts(seconds, interface or ())
    )
    lines = inventory_lines(hosts)
    if as_json:
        print_json({"hosts": hosts})
    elif lines:
        typer.echo(lines)
    else:
        have = f"{len(hosts)} answered, and the inventory has them" if hosts else "no machine answered"
        create_progress().log(f"{have}; asked for {seconds:g} s")


def _known_hosts(inventory: Path | None, workspace: Workspace) -> set[str]:
    """Return the names and addresses of the inventory's devices; none if there is no inventory yet."""
    from toolkit.cli.fleet_options import load_devices
    from toolkit.errors import ConfigurationError
    from toolkit.fleet.inventory.load import find_inventory

    if inventory is None:
        try:
            find_inventory(None, workspace)
        except ConfigurationError:
            return set()
    return {text for device in load_devices(workspace, inventory, None) for text in (device.name, device.host)}
