"""`toolkit fleet`: list and probe devices, and run a local or virtual fleet."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli import fleet_discover, fleet_exec, fleet_logs, watch
from toolkit.cli.fleet_options import load_devices
from toolkit.cli.options import (
    DEFAULT_FORKS,
    DEFAULT_WORKSPACE,
    AskPassOption,
    ForksOption,
    InventoryOption,
    JsonOption,
    LimitOption,
    WorkspaceOption,
)
from toolkit.cli.output import print_json, print_table
from toolkit.cli.sd_image import image

if TYPE_CHECKING:
    from toolkit.artifacts.fleet import DeviceFacts
    from toolkit.progress import Progress
    from toolkit.workspace import Workspace

VIRTUAL = "Virtual devices"

app = typer.Typer(help="List, probe and run devices.", no_args_is_help=True)


@app.command()
def up(
    count: Annotated[
        int | None, typer.Option("--count", min=1, max=64, metavar="N", help="Devices of the local fleet. Default: 3.")
    ] = None,
    virtual: Annotated[
        int | None,
        typer.Option(
            "--virtual",
            min=1,
            max=16,
            metavar="N",
            help="Bare arm64 machines to emulate with QEMU, instead of a local fleet.",
            rich_help_panel=VIRTUAL,
        ),
    ] = None,
    ncs2: Annotated[
        bool, typer.Option("--ncs2", help="A virtual NCS2 in each virtual device.", rich_help_panel=VIRTUAL)
    ] = False,
    allowed_signers: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Signers to trust; the devices then run only what they have signed."),
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Start a local or virtual fleet.

    A local fleet consists of SSH servers on loopback ports, each with its own folder. With --virtual, the devices
    are emulated machines, bare like a Pi with a new SD card, for Ansible to provision.
    """
    from toolkit.errors import UsageError
    from toolkit.fleet.local_fleet import control
    from toolkit.progress import create_progress
    from toolkit.workspace import Workspace

    progress = create_progress(quiet=as_json)
    if virtual is not None:
        if count is not None or allowed_signers is not None:
            raise UsageError("--virtual excludes --count and --allowed-signers", remedy="leave them out")
        _up_virtual(Workspace(workspace), virtual, ncs2=ncs2, progress=progress, as_json=as_json)
        return
    if ncs2:
        raise UsageError("--ncs2 requires --virtual", remedy="add --virtual 1")
    fleet = control.up(Workspace(workspace), count, allowed_signers)
    progress.log("started" if fleet.started else "already running, nothing to do")
    if as_json:
        print_json({"started": fleet.started, "inventory": fleet.inventory, "devices": fleet.devices})
    else:
        print_table(("device", "address", "root"), ((d.name, f"{d.host}:{d.port}", d.root) for d in fleet.devices))


def _up_virtual(workspace: Workspace, count: int, *, ncs2: bool, progress: Progress, as_json: bool) -> None:
    from toolkit.virtual import devices

    fleet = devices.up(workspace, count, progress, sticks=ncs2)
    progress.log(f"started {', '.join(fleet.started)}" if fleet.started else "already running, nothing to do")
    if as_json:
        print_json({"started": fleet.started, "inventory": fleet.inventory, "devices": fleet.devices})
        return
    progress.log(f"to provision them: cd ansible; ansible-playbook -i {fleet.inventory} provision-pi.yml")
    print_table(
        ("device", "address", "inventory"), ((d.name, f"{d.host}:{d.port}", fleet.inventory) for d in fleet.devices)
    )


@app.command()
def down(
    remove: Annotated[
        bool, typer.Option("--remove", help="Also remove the disks and keys of virtual devices.")
    ] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Stop the local and virtual fleet.

    Keeps their folders and disks for the next `fleet up`.
    """
    from toolkit.fleet.local_fleet import control
    from toolkit.progress import create_progress
    from toolkit.virtual import devices
    from toolkit.workspace import Workspace

    stopped = control.down(Workspace(workspace))
    switched_off = devices.down(Workspace(workspace), remove=remove)
    create_progress(quiet=as_json).log("stopped" if stopped or switched_off else "not running, nothing to do")
    if as_json:
        print_json({"stopped": stopped, "switched_off": switched_off})


class Plug(StrEnum):
    """What to do with a virtual NCS2."""

    PLUG_IN = "in"
    PULL_OUT = "out"


@app.command()
def ncs2(
    device: Annotated[str, typer.Argument(metavar="DEVICE", help="Name of a virtual device.")],
    action: Annotated[Plug, typer.Argument(metavar="ACTION", help="in or out.")],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Plug in or unplug a virtual NCS2.

    The device keeps running; start it with `toolkit fleet up --virtual 1 --ncs2`.
    """
    from toolkit.virtual import devices
    from toolkit.virtual.ncs2_emulator import Stick
    from toolkit.workspace import Workspace

    emulator = Stick(devices.machine(Workspace(workspace), device).folder)
    if action is Plug.PLUG_IN:
        emulator.plug_in()
    else:
        emulator.unplug()
    if as_json:
        print_json(emulator.state())


app.command()(image)


app.command("discover")(fleet_discover.discover)


@app.command("list")
def list_devices(
    inventory: InventoryOption = None,
    limit: LimitOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """List the devices of the inventory.

    Connects to none of them.
    """
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
    ask_pass: AskPassOption = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Probe devices over SSH.

    Shows machine, system, Python, OpenVINO, accelerators, free space, current release and transport.
    """
    from toolkit import fleet
    from toolkit.artifacts.fleet import Device
    from toolkit.cli.fleet_output import print_results
    from toolkit.progress import create_progress
    from toolkit.workspace import Workspace

    def fetch_facts(device: Device) -> DeviceFacts:
        with fleet.connect(device) as shell:
            facts = fleet.probe_current(device, shell)
            return replace(facts, details={**facts.details, "transport": shell.transport})

    devices = load_devices(Workspace(workspace), inventory, limit, ask_pass)
    result = fleet.fan_out(devices, fetch_facts, forks, progress=create_progress(quiet=as_json), title="probing")
    columns = ("machine", "system", "python", "openvino", "accelerators", "free", "serves", "reached by")
    print_results(result, columns, _facts_row, as_json=as_json)


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
        facts.details.get("transport", ""),
    )


app.command("watch")(watch.watch)
