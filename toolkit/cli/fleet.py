"""`toolkit fleet`: the devices there are, what each of them is, and an embedded fleet to try things on."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli import fleet_exec, fleet_logs, watch
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
from toolkit.cli.sd_image import card

if TYPE_CHECKING:
    from toolkit.artifacts.fleet import DeviceFacts
    from toolkit.progress import Progress
    from toolkit.workspace import Workspace

app = typer.Typer(
    help="The devices: list and probe them; start and stop an embedded or a virtual fleet.", no_args_is_help=True
)


@app.command()
def up(
    count: Annotated[int | None, typer.Option("--count", min=1, max=64, help="How many devices. Default: 3.")] = None,
    virtual: Annotated[
        int | None,
        typer.Option("--virtual", min=1, max=16, help="Instead, so many bare arm64 machines, emulated by QEMU."),
    ] = None,
    sticks: Annotated[
        bool, typer.Option("--sticks", help="Each of these has a virtual Neural Compute Stick 2 plugged in.")
    ] = False,
    allowed_signers: Annotated[
        Path | None,
        typer.Option(help="From now on its devices run only what one whom this file names has signed."),
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Start an embedded fleet: real SSH servers on loopback ports, each with a folder of its own.

    With --virtual the devices are whole machines, bare as a Pi with a fresh card, which Ansible can provision.
    """
    from toolkit.errors import UsageError
    from toolkit.fleet.local_fleet import control
    from toolkit.progress import create_progress
    from toolkit.workspace import Workspace

    progress = create_progress(quiet=as_json)
    if virtual is not None:
        if count is not None or allowed_signers is not None:
            raise UsageError("--virtual goes with neither --count nor --allowed-signers", remedy="leave them out")
        _up_virtual(Workspace(workspace), virtual, sticks=sticks, progress=progress, as_json=as_json)
        return
    if sticks:
        raise UsageError("--sticks is of virtual devices", remedy="add --virtual 1")
    fleet = control.up(Workspace(workspace), count, allowed_signers)
    progress.log("started" if fleet.started else "it runs already: nothing to do")
    if as_json:
        print_json({"started": fleet.started, "inventory": fleet.inventory, "devices": fleet.devices})
    else:
        print_table(("device", "address", "root"), ((d.name, f"{d.host}:{d.port}", d.root) for d in fleet.devices))


def _up_virtual(workspace: Workspace, count: int, *, sticks: bool, progress: Progress, as_json: bool) -> None:
    from toolkit.virtual import devices

    fleet = devices.up(workspace, count, progress, sticks=sticks)
    progress.log(f"started {', '.join(fleet.started)}" if fleet.started else "they run already: nothing to do")
    if as_json:
        print_json({"started": fleet.started, "inventory": fleet.inventory, "devices": fleet.devices})
        return
    progress.log(f"to provision them: cd ansible; ansible-playbook -i {fleet.inventory} provision-pi.yml")
    print_table(
        ("device", "address", "inventory"), ((d.name, f"{d.host}:{d.port}", fleet.inventory) for d in fleet.devices)
    )


@app.command()
def down(
    remove: Annotated[bool, typer.Option("--remove", help="Remove the virtual devices' disks and keys, too.")] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """End the embedded fleet's process and switch virtual devices off. All that is theirs stays for the next `up`."""
    from toolkit.fleet.local_fleet import control
    from toolkit.progress import create_progress
    from toolkit.virtual import devices
    from toolkit.workspace import Workspace

    stopped = control.down(Workspace(workspace))
    switched_off = devices.down(Workspace(workspace), remove=remove)
    create_progress(quiet=as_json).log("stopped" if stopped or switched_off else "none runs: nothing to do")
    if as_json:
        print_json({"stopped": stopped, "switched_off": switched_off})


class Plug(StrEnum):
    """What to do with a stick."""

    PLUG_IN = "in"
    PULL_OUT = "out"


@app.command()
def stick(
    device: Annotated[str, typer.Argument(help="A virtual device.")],
    where: Annotated[Plug, typer.Argument(help="Plug it in, or pull it out.")],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Plug a virtual device's stick in or pull it out, while it runs; see `fleet up --virtual 1 --sticks`."""
    from toolkit.virtual import devices
    from toolkit.virtual.ncs2_emulator import Stick
    from toolkit.workspace import Workspace

    its = Stick(devices.machine(Workspace(workspace), device).folder)
    if where is Plug.PLUG_IN:
        its.plug_in()
    else:
        its.unplug()
    if as_json:
        print_json(its.state())


app.command()(card)


@app.command("list")
def list_devices(
    inventory: InventoryOption = None,
    limit: LimitOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """The devices of the inventory; asks none of them."""
    from toolkit.fleet.inventory.load import find_inventory, load_inventory
    from toolkit.workspace import Workspace

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
    from toolkit.artifacts.fleet import Device
    from toolkit.cli.fleet_output import report
    from toolkit.fleet.inventory.load import find_inventory
    from toolkit.progress import create_progress
    from toolkit.workspace import Workspace

    def ask(device: Device) -> DeviceFacts:
        with fleet.connect(device) as shell:
            return fleet.probe_serving(device, shell)

    devices = fleet.load_inventory(find_inventory(inventory, Workspace(workspace)), limit)
    result = fleet.fan_out(devices, ask, forks, progress=create_progress(quiet=as_json), title="probing")
    columns = ("machine", "system", "python", "openvino", "accelerators", "free", "serves")
    report(result, columns, _facts_row, as_json=as_json)


app.command("exec")(fleet_exec.run_everywhere)
app.command("logs")(fleet_logs.logs)


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


app.command("watch")(watch.watch)
