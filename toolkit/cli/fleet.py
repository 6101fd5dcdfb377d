"""`toolkit fleet`: the devices there are, what each of them is, and an embedded fleet to try things on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli.options import (
    DEFAULT_FORKS,
    DEFAULT_WORKSPACE,
    ForksOption,
    InventoryOption,
    JsonOption,
    LimitOption,
    WorkspaceOption,
)
from toolkit.cli.output import print_json, print_table

if TYPE_CHECKING:
    from toolkit.artifacts import DeviceFacts

app = typer.Typer(help="The devices: list and probe them; start and stop an embedded fleet.", no_args_is_help=True)


@app.command()
def up(
    count: Annotated[int | None, typer.Option("--count", min=1, max=64, help="How many devices. Default: 3.")] = None,
    allowed_signers: Annotated[
        Path | None,
        typer.Option(help="From now on its devices run only what one whom this file names has signed."),
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Start an embedded fleet: real SSH servers on loopback ports, each with a folder of its own."""
    from toolkit.artifacts import Workspace
    from toolkit.fleet import embedded
    from toolkit.progress import for_people

    progress = for_people(quiet=as_json)
    fleet = embedded.up(Workspace(workspace), count, allowed_signers)
    progress.say("started" if fleet.started else "it runs already: nothing to do")
    if as_json:
        print_json({"started": fleet.started, "inventory": fleet.inventory, "devices": fleet.devices})
    else:
        print_table(("device", "address", "root"), ((d.name, f"{d.host}:{d.port}", d.root) for d in fleet.devices))


@app.command()
def down(workspace: WorkspaceOption = DEFAULT_WORKSPACE, as_json: JsonOption = False) -> None:
    """End the embedded fleet's process. Its folders, keys and ports stay for the next `up`."""
    from toolkit.artifacts import Workspace
    from toolkit.fleet import embedded
    from toolkit.progress import for_people

    stopped = embedded.down(Workspace(workspace))
    for_people(quiet=as_json).say("stopped" if stopped else "none runs: nothing to do")
    if as_json:
        print_json({"stopped": stopped})


@app.command("list")
def list_devices(
    inventory: InventoryOption = None,
    limit: LimitOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """The devices of the inventory; asks none of them."""
    from toolkit.artifacts import Workspace
    from toolkit.fleet.inventory import find_inventory, load_inventory

    devices = load_inventory(find_inventory(inventory, Workspace(workspace)), limit)
    if as_json:
        print_json(devices)
        return
    columns = ("device", "address", "user", "groups", "accelerator", "root")
    print_table(
        columns,
        ((d.name, f"{d.host}:{d.port}", d.user or "", ", ".join(d.groups), d.accelerator, d.root) for d in devices),
    )


@app.command()
def probe(
    inventory: InventoryOption = None,
    limit: LimitOption = None,
    forks: ForksOption = DEFAULT_FORKS,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """What each device is: machine, system, Python, OpenVINO, accelerators, room, what it serves."""
    from toolkit import fleet
    from toolkit.artifacts import Device, Workspace
    from toolkit.cli.outcomes import report
    from toolkit.fleet.inventory import find_inventory
    from toolkit.progress import for_people

    def ask(device: Device) -> DeviceFacts:
        with fleet.connect(device) as shell:
            return fleet.probe(device, shell)

    devices = fleet.load_inventory(find_inventory(inventory, Workspace(workspace)), limit)
    result = fleet.fan_out(devices, ask, forks, progress=for_people(quiet=as_json), title="probing")
    columns = ("machine", "system", "python", "openvino", "accelerators", "free", "serves")
    report(result, columns, _facts_row, as_json=as_json)


def _facts_row(facts: DeviceFacts) -> tuple[object, ...]:
    return (
        facts.details.get("model") or facts.machine,
        facts.details.get("os") or facts.details.get("kernel") or "",
        facts.python or "missing",
        (facts.openvino or "missing").partition("-")[0],
        ", ".join(facts.accelerators) or "none",
        f"{facts.free_bytes / 1e9:.1f} GB",
        (facts.current or "nothing")[:12],
    )
