"""One virtual device: a QEMU process, identified by its control socket, with a disk of its own over the shared disk image.

The device runs if its socket answers; a stale socket file is thus never mistaken for a running device.
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
"""Address of the virtual stick in the network that QEMU emulates."""

_POLL_S = 0.2
# Timers that would start work in the background.
_QUIET = ("apt-daily", "apt-daily-upgrade", "dpkg-db-backup", "e2scrub_all", "fstrim", "man-db")


@dataclass(frozen=True, slots=True)
class MachineSize:
    """Resources of a device."""

    cpus: int = 2
    memory_mib: int = 1024


@dataclass(frozen=True, slots=True)
class Machine:
    """A device in `folder`; `port` is its SSH port on loopback."""

    name: str
    folder: Path
    port: int

    @property
    def disk(self) -> Path:
        """The device's own disk, over the shared disk image."""
        return self.folder / "disk.qcow2"

    @property
    def control(self) -> Path:
        """QEMU's control socket."""
        return self.folder / "qmp"

    @property
    def console(self) -> Path:
        """Output of its serial console."""
        return self.folder / "console.log"


def create(machine: Machine, disk: Disk, seed: bytes, tools: Tools) -> None:
    """Create the device's disk if it has none; `seed` applies at its first boot."""
    machine.folder.mkdir(parents=True, exist_ok=True)
    (machine.folder / "initrd").write_bytes(disk.initrd + seed)
    if not machine.disk.exists():
        tools.run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", disk.root, machine.disk)


def start(
    machine: Machine, disk: Disk, tools: Tools, *, size: MachineSize | None = None, stick: Path | None = None
) -> None:
    """Boot the device without waiting for it. `stick` is the folder of its virtual stick.

    Raises:
        MachineError: QEMU did not start; includes its message.
    """
    command = qemu_arguments(machine, disk, size or MachineSize(), accelerator())
    if stick is not None:
        command[command.index("-netdev") + 1] += f",guestfwd=tcp:{STICK}-cmd:{_stick_command(stick)}"
        command[command.index("-append") + 1] += " stick"
    launch(machine, tools, command)


def launch(machine: Machine, tools: Tools, arguments: Sequence[str]) -> None:
    """Start QEMU with these arguments, in the device's folder.

    Raises:
        MachineError: QEMU did not start; includes its message.
    """
    machine.control.unlink(missing_ok=True)
    debian_packages.run_program(tools.qemu(*arguments), "starting QEMU", machine.folder)


def _stick_command(folder: Path) -> str:
    return shlex.join([sys.executable, "-m", "toolkit.virtual.ncs2_emulator", str(folder)]).replace(",", ",,")


def accelerator() -> tuple[str, str]:
    """Return QEMU's accelerator and CPU: KVM on arm64 machines that allow it, otherwise emulation."""
    if platform.machine() == "aarch64" and os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "kvm", "host"
    return "tcg,thread=multi,tb-size=512", "cortex-a72"


def qemu_arguments(machine: Machine, disk: Disk, size: MachineSize, accelerated: tuple[str, str]) -> list[str]:
    """Return QEMU's arguments. It must start in the device's folder, because socket paths are limited to about 100 characters."""
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
    """Wait until its SSH server answers.

    Raises:
        MachineError: QEMU ended, or `seconds` passed; includes the last lines of the console.
    """
    deadline = time.monotonic() + seconds
    while not _greets(machine):
        if time.monotonic() > deadline or not is_running(machine):
            lines = machine.console.read_text(errors="replace").strip().splitlines()[-3:]
            raise MachineError(f"{machine.name} did not start: {'; '.join(lines)}", where=str(machine.console))
        time.sleep(_POLL_S)


def _greets(machine: Machine) -> bool:
    with suppress(OSError), socket.create_connection((ADDRESS, machine.port), 5) as connection:
        connection.settimeout(5)
        return connection.recv(4) == b"SSH-"
    return False


def is_running(machine: Machine) -> bool:
    """Whether the device runs."""
    with suppress(OSError), _control(machine):
        return True
    return False


def stop(machine: Machine, seconds: float = STOPPING_S) -> bool:
    """Shut the device down, by force after `seconds`; return False if it did not run."""
    if not is_running(machine):
        return False
    deadline = time.monotonic() + seconds
    send_command(machine, "system_powerdown")
    while is_running(machine):
        if time.monotonic() > deadline:
            send_command(machine, "quit")
        time.sleep(_POLL_S)
    return True


def send_command(machine: Machine, command: str, **arguments: Any) -> Any:
    """Send a control command to QEMU and return its answer; None if QEMU ended."""
    with suppress(OSError, ValueError), _control(machine) as stream:
        _send(stream, {"execute": command, "arguments": arguments})
        return _answer(stream)
    return None


@contextmanager
def _control(machine: Machine) -> Iterator[SocketIO]:
    """Connection to QEMU's control socket, which accepts one at a time."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(_short(machine.control))
        with connection.makefile("rwb", buffering=0) as stream:
            stream.readline()
            _send(stream, {"execute": "qmp_capabilities"})
            _answer(stream)
            yield stream


def _short(path: Path) -> str:
    """The shorter form of a path: socket paths are limited to about 100 characters."""
    return min(str(path), os.path.relpath(path), key=len)


def _send(stream: SocketIO, message: dict[str, object]) -> None:
    stream.write(json.dumps(message).encode() + b"\n")


def _answer(stream: SocketIO) -> Any:
    """Return the answer, skipping events."""
    while line := stream.readline():
        message = json.loads(line)
        if "event" not in message:
            return message.get("return")
    raise OSError("QEMU hung up")


def free_ports(count: int) -> Sequence[int]:
    """Return unused ports on loopback."""
    listeners = [socket.create_server((ADDRESS, 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports
