"""A fleet of virtual devices (`toolkit fleet up --virtual 2`): bare machines, like a Pi with a new SD card.

WORKSPACE/virtual/ holds the inventory, the pinned host keys, and a folder for each device. Its disk persists from one `up` to
the next. The devices have one user, `pi`, who logs in with keys/client.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from toolkit.artifacts.fleet import Device
from toolkit.errors import MachineError
from toolkit.files import atomic_write
from toolkit.fleet.inventory.load import load_inventory
from toolkit.fleet.ssh.keys import make_key, public_key
from toolkit.progress import Progress
from toolkit.virtual.disk_image import SUITE, get_disk
from toolkit.virtual.machine import (
    ADDRESS,
    Machine,
    MachineSize,
    create,
    free_ports,
    is_running,
    start,
    stop,
    wait_for_ssh,
)
from toolkit.virtual.ncs2_emulator import Stick
from toolkit.virtual.seed import USER, Seed
from toolkit.virtual.tools import get_tools
from toolkit.workspace import Workspace

FOLDER = "virtual"


@dataclass(frozen=True, slots=True)
class Virtual:
    """Result of `up`."""

    inventory: Path
    devices: tuple[Device, ...]
    started: tuple[str, ...]
    """Devices that were not running before."""


def up(
    workspace: Workspace,
    count: int,
    progress: Progress,
    *,
    suite: str = SUITE,
    sticks: bool = False,
    size: MachineSize | None = None,
) -> Virtual:
    """Start `count` devices and wait for their SSH servers. Running devices and those beyond `count` are left alone.

    New devices get `suite`. With `sticks`, each has a virtual Neural Compute Stick 2 plugged in.

    Raises:
        MachineError: a program is missing, or a device did not start.
    """
    tools = get_tools(progress)
    disk = get_disk(tools, progress, suite)
    folder = workspace.folder(FOLDER).absolute()
    machines = _machines(folder, count)
    make_key(folder / "keys" / "client")
    _describe(folder, machines)
    stopped = [machine for machine in machines if not is_running(machine)]
    for machine in stopped:
        create(machine, disk, _seed(folder, machine).archive(), tools)
        if sticks:
            Stick(machine.folder).plug_in()
        start(machine, disk, tools, size=size, stick=machine.folder if sticks else None)
    _wait_for_all(stopped, progress)
    return Virtual(folder / "inventory.yml", load_inventory(folder / "inventory.yml"), _names(stopped))


def _names(machines: Sequence[Machine]) -> tuple[str, ...]:
    return tuple(machine.name for machine in machines)


def _wait_for_all(machines: Sequence[Machine], progress: Progress) -> None:
    """Wait for each; if one does not start, stop all that were started."""
    with progress.track("booting machines", len(machines)) as task:
        try:
            for machine in machines:
                wait_for_ssh(machine)
                task.advance(note=machine.name)
        except BaseException:
            for machine in machines:
                stop(machine, seconds=0)
            raise


def down(workspace: Workspace, *, remove: bool = False) -> tuple[str, ...]:
    """Stop the running devices and return their names; with `remove`, also delete disks and keys."""
    folder = workspace.root.absolute() / FOLDER
    machines = _known(folder)
    stopped = [machine for machine in machines if stop(machine)]
    if remove and folder.exists():
        shutil.rmtree(folder)
    return _names(stopped)


def machine(workspace: Workspace, name: str) -> Machine:
    """Return the device of that name.

    Raises:
        MachineError: there is none.
    """
    known = _known(workspace.root.absolute() / FOLDER)
    match = next((machine for machine in known if machine.name == name), None)
    if match is None:
        raise MachineError(f"there is no virtual device {name}", remedy="toolkit fleet up --virtual 1")
    return match


def _known(folder: Path) -> list[Machine]:
    """All devices of the workspace, running or not."""
    return [Machine(name, folder / "devices" / name, port) for name, port in _ports(folder).items()]


def _ports(folder: Path) -> dict[str, int]:
    with suppress(OSError, ValueError):
        ports: dict[str, int] = json.loads((folder / "ports.json").read_text())
        return ports
    return {}


def _machines(folder: Path, count: int) -> list[Machine]:
    """Return `count` devices, each with the port that it had before."""
    ports = _ports(folder)
    names = [f"virtual-{number}" for number in range(1, count + 1)]
    new = [name for name in names if name not in ports]
    ports |= dict(zip(new, free_ports(len(new)), strict=True))
    with atomic_write(folder / "ports.json") as stream:
        stream.write(json.dumps(ports, indent=2).encode())
    return [Machine(name, folder / "devices" / name, ports[name]) for name in names]


def _seed(folder: Path, machine: Machine) -> Seed:
    host_key = folder / "keys" / f"{machine.name}-host"
    make_key(host_key)
    client = public_key(folder / "keys" / "client")
    return Seed(machine.name, host_key.read_text(), f"{public_key(host_key)}\n", (f"{client} toolkit",))


def _describe(folder: Path, machines: Sequence[Machine]) -> None:
    """Write the inventory and known_hosts; host keys are known before the first boot."""
    for machine in _known(folder):
        make_key(folder / "keys" / f"{machine.name}-host")
    keys = [key for machine in _known(folder) for key in _host_keys(folder, machine)]
    for name, text in (("known_hosts", "".join(keys)), ("inventory.yml", _inventory(folder, machines))):
        with atomic_write(folder / name) as stream:
            stream.write(text.encode())


def _host_keys(folder: Path, machine: Machine) -> list[str]:
    """Return lines for known_hosts: the key of a new device, or the pinned keys of an earlier one, which may have been rotated."""
    entry = f"[{ADDRESS}]:{machine.port}"
    pinned: list[str] = []
    if machine.disk.exists():
        with suppress(OSError):
            lines = (folder / "known_hosts").read_text().splitlines(keepends=True)
            pinned = [line for line in lines if line.split(" ")[0] == entry]
    return pinned or [f"{entry} {public_key(folder / 'keys' / f'{machine.name}-host')}\n"]


def _inventory(folder: Path, machines: Sequence[Machine]) -> str:
    """Return an Ansible inventory; JSON is YAML."""
    known_hosts = folder / "known_hosts"
    shared = {
        "ansible_host": ADDRESS,
        "ansible_user": USER,
        "ansible_ssh_private_key_file": str(folder / "keys" / "client"),
        "ansible_ssh_common_args": f"-F none -o 'UserKnownHostsFile=\"{known_hosts}\"' -o StrictHostKeyChecking=yes",
        "toolkit_known_hosts": str(known_hosts),
    }
    hosts = {one.name: {"ansible_port": one.port} for one in machines}
    return "# Written by `toolkit fleet up`.\n" + json.dumps({"virtual": {"hosts": hosts, "vars": shared}}, indent=2)
