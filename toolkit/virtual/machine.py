"""One virtual device: a QEMU process, found again by its control socket, with a disk of its own over the shared one.

The socket tells whether it runs: only the process that made it answers there, so a stale file is never taken for a machine.
"""

from __future__ import annotations

import json
import os
import platform
import shlex
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from socket import SocketIO
from typing import Any

from toolkit.errors import MachineError
from toolkit.system import debian_packages
from toolkit.virtual.disk_image import Disk
from toolkit.virtual.tools import Tools

ADDRESS = "127.0.0.1"
STARTING_S = 600.0
STOPPING_S = 60.0
STICK = "10.0.2.100:3240"
"""Where a device finds its stick: an address of the network that QEMU plays to it."""

_POLL_S = 0.2
# What would run now and then on its own account.
_QUIET = ("apt-daily", "apt-daily-upgrade", "dpkg-db-backup", "e2scrub_all", "fstrim", "man-db")


@dataclass(frozen=True, slots=True)
class Size:
    """How much of this machine a device may take."""

    cpus: int = 2
    memory_mib: int = 1024


@dataclass(frozen=True, slots=True)
class Machine:
    """A device in `folder`; `port` is its SSH on loopback."""

    name: str
    folder: Path
    port: int

    @property
    def disk(self) -> Path:
        """What differs from the shared disk."""
        return self.folder / "disk.qcow2"

    @property
    def control(self) -> Path:
        """QEMU's control socket."""
        return self.folder / "qmp"

    @property
    def console(self) -> Path:
        """What the device wrote to its serial console."""
        return self.folder / "console.log"


def create(machine: Machine, disk: Disk, seed: bytes, tools: Tools) -> None:
    """An empty disk over the shared one, unless the device has its own already; `seed` is for its first start."""
    machine.folder.mkdir(parents=True, exist_ok=True)
    (machine.folder / "initrd").write_bytes(disk.initrd + seed)
    if not machine.disk.exists():
        tools.run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", disk.root, machine.disk)


def start(machine: Machine, disk: Disk, tools: Tools, *, size: Size | None = None, stick: Path | None = None) -> None:
    """Let it boot; returns at once. `stick` is the folder of a virtual stick that it finds plugged in.

    Raises:
        MachineError: QEMU would not start; in its own words.
    """
    machine.control.unlink(missing_ok=True)
    words = arguments(machine, disk, size or Size(), accelerator())
    if stick is not None:
        words[words.index("-netdev") + 1] += f",guestfwd=tcp:{STICK}-cmd:{_stick_command(stick)}"
        words[words.index("-append") + 1] += " stick"
    debian_packages.run_program(tools.qemu(*words), "starting QEMU", machine.folder)


def _stick_command(folder: Path) -> str:
    return shlex.join([sys.executable, "-m", "toolkit.virtual.ncs2_emulator", str(folder)]).replace(",", ",,")


def accelerator() -> tuple[str, str]:
    """QEMU's accelerator and CPU: this machine's own where it is one of arm64 that lets us, else emulation."""
    if platform.machine() == "aarch64" and os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "kvm", "host"
    return "tcg,thread=multi,tb-size=512", "cortex-a72"


def arguments(machine: Machine, disk: Disk, size: Size, accelerated: tuple[str, str]) -> list[str]:
    """QEMU's words; it is to be started in the machine's folder, since a socket's path may have some hundred letters only."""
    accel, cpu = accelerated
    masked = " ".join(f"systemd.mask={name}.timer" for name in _QUIET)
    return [
        *("-name", machine.name, "-machine", "virt", "-accel", accel, "-cpu", cpu),
        *("-smp", str(size.cpus), "-m", str(size.memory_mib)),
        *("-kernel", str(disk.kernel), "-initrd", str(machine.folder / "initrd")),
        *("-append", f"console=ttyAMA0 systemd.show_status=0 {masked}"),
        *("-drive", f"file={machine.disk},if=none,id=disk,format=qcow2,cache=unsafe,discard=unmap"),
        *("-device", "virtio-blk-pci,drive=disk", "-device", "virtio-rng-pci"),
        *("-netdev", f"user,id=net,hostfwd=tcp:{ADDRESS}:{machine.port}-:22"),
        *("-device", "virtio-net-pci,netdev=net,romfile="),
        *("-display", "none", "-serial", f"file:{machine.console}", "-daemonize"),
        *("-qmp", f"unix:{machine.control.name},server=on,wait=off"),
    ]


def wait_for_ssh(machine: Machine, seconds: float = STARTING_S) -> None:
    """Until its SSH server greets.

    Raises:
        MachineError: it ended, or did not within `seconds`; with the last lines of its console.
    """
    deadline = time.monotonic() + seconds
    while not _greets(machine):
        if time.monotonic() > deadline or not is_running(machine):
            lines = machine.console.read_text(errors="replace").strip().splitlines()[-3:]
            raise MachineError(f"{machine.name} did not come up: {'; '.join(lines)}", where=str(machine.console))
        time.sleep(_POLL_S)


def _greets(machine: Machine) -> bool:
    with suppress(OSError), socket.create_connection((ADDRESS, machine.port), 5) as connection:
        connection.settimeout(5)
        return connection.recv(4) == b"SSH-"
    return False


def is_running(machine: Machine) -> bool:
    """Whether its process answers."""
    with suppress(OSError), _control(machine):
        return True
    return False


def stop(machine: Machine, seconds: float = STOPPING_S) -> bool:
    """Switch it off as its power button does, or pull its plug if it takes too long; False if it did not run."""
    if not is_running(machine):
        return False
    deadline = time.monotonic() + seconds
    tell(machine, "system_powerdown")
    while is_running(machine):
        if time.monotonic() > deadline:
            tell(machine, "quit")
        time.sleep(_POLL_S)
    return True


def tell(machine: Machine, command: str, **given: Any) -> Any:
    """QEMU's answer to one of its control commands; None if it went meanwhile."""
    with suppress(OSError, ValueError), _control(machine) as stream:
        _send(stream, {"execute": command, "arguments": given})
        return _answer(stream)
    return None


@contextmanager
def _control(machine: Machine) -> Iterator[SocketIO]:
    """A conversation with QEMU, which holds one at a time."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(_short(machine.control))
        with connection.makefile("rwb", buffering=0) as stream:
            stream.readline()
            _send(stream, {"execute": "qmp_capabilities"})
            _answer(stream)
            yield stream


def _short(path: Path) -> str:
    """A socket's path may have some hundred letters only."""
    return min(str(path), os.path.relpath(path), key=len)


def _send(stream: SocketIO, message: dict[str, object]) -> None:
    stream.write(json.dumps(message).encode() + b"\n")


def _answer(stream: SocketIO) -> Any:
    """What it returns; events that come before are passed over."""
    while line := stream.readline():
        said = json.loads(line)
        if "event" not in said:
            return said.get("return")
    raise OSError("QEMU hung up")


def free_ports(count: int) -> Sequence[int]:
    """Ports of loopback that nobody listens on now."""
    listeners = [socket.create_server((ADDRESS, 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports
