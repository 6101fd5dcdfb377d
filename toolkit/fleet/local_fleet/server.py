"""The process behind `toolkit fleet up`: one SSH server per device, each on its own loopback port.

Run as `python -m toolkit.fleet.local_fleet.server FOLDER COUNT`. It holds a lock on FOLDER/server.pid while it runs, writes
the inventory and known_hosts, and prints "ready" once all devices answer. FOLDER/keys/client is the only login. /bin/sh runs
commands in the device's folder, which is also their HOME, without confinement. SFTP is confined to that folder; it uses the
same absolute paths.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh

from toolkit.files import atomic_write
from toolkit.fleet.local_fleet.session import ConfinedSftp, run_command
from toolkit.fleet.ssh.keys import make_key, public_key

ADDRESS = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class DeviceHome:
    """The folder and keys of a device."""

    name: str
    folder: Path
    host_key: Path

    @property
    def root(self) -> Path:
        """Where its releases are."""
        return self.folder / "opt" / "toolkit"


def device_homes(fleet: Path, count: int) -> tuple[DeviceHome, ...]:
    """Return the devices of the local fleet in `fleet`."""
    names = [f"local-{number}" for number in range(1, count + 1)]
    return tuple(DeviceHome(name, fleet / "devices" / name, fleet / "keys" / f"{name}-host") for name in names)


async def serve(fleet: Path, count: int) -> None:
    """Serve until SIGTERM."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    make_key(fleet / "keys" / "client")
    servers = [(home, await _listen(home, fleet)) for home in device_homes(fleet, count)]
    ports = {home.name: server.get_port() for home, server in servers}
    _describe(fleet, [home for home, _ in servers], ports)
    print("ready", flush=True)
    await stop.wait()
    for _, server in servers:
        server.close()
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    await asyncio.gather(*(server.wait_closed() for _, server in servers), return_exceptions=True)


async def _listen(home: DeviceHome, fleet: Path) -> asyncssh.SSHAcceptor:
    """Start the server of one device, on its last port if that is free."""
    home.root.mkdir(parents=True, exist_ok=True)
    make_key(home.host_key)
    options: dict[str, Any] = {
        "server_host_keys": [str(home.host_key)],
        "authorized_client_keys": str(fleet / "keys" / "client.pub"),
        "process_factory": lambda process: run_command(process, home.folder),
        "sftp_factory": lambda channel: ConfinedSftp(channel, home.folder),
        "encoding": None,
        "line_editor": False,
        "server_factory": Reachable,
        "keepalive_interval": 30,
    }
    with suppress(OSError):
        return await asyncssh.listen(ADDRESS, _last_port(home, fleet), **options)
    return await asyncssh.listen(ADDRESS, 0, **options)


class Reachable(asyncssh.SSHServer):
    """Allows forwarding to the device's loopback interface."""

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> bool:
        """Return whether a connection may be forwarded."""
        del dest_port, orig_host, orig_port
        return dest_host == ADDRESS


def _last_port(home: DeviceHome, fleet: Path) -> int:
    """Return its last port, or 0 for any."""
    with suppress(OSError, ValueError):
        return int(json.loads((fleet / "ports.json").read_text()).get(home.name, 0))
    return 0


def _describe(fleet: Path, devices: list[DeviceHome], ports: dict[str, int]) -> None:
    """Write the inventory, the pinned host keys, and the ports for next time."""
    with suppress(OSError, ValueError):
        ports = json.loads((fleet / "ports.json").read_text()) | ports
    keys = "".join(f"[{ADDRESS}]:{ports[home.name]} {public_key(home.host_key)}\n" for home in devices)
    for name, text in (
        ("ports.json", json.dumps(ports, indent=2)),
        ("known_hosts", keys),
        ("inventory.yml", _inventory(fleet, devices, ports)),
    ):
        with atomic_write(fleet / name) as stream:
            stream.write(text.encode())


def _inventory(fleet: Path, devices: list[DeviceHome], ports: dict[str, int]) -> str:
    """Return an Ansible inventory; JSON is YAML."""
    known_hosts = fleet / "known_hosts"
    shared = {
        "ansible_host": ADDRESS,
        "ansible_user": "toolkit",
        "ansible_ssh_private_key_file": str(fleet / "keys" / "client"),
        "ansible_ssh_common_args": f"-F none -o 'UserKnownHostsFile=\"{known_hosts}\"' -o StrictHostKeyChecking=yes",
        "ansible_python_interpreter": sys.executable,
        "toolkit_known_hosts": str(known_hosts),
        "toolkit_python": sys.executable,
        "toolkit_accelerator": "CPU",
        "toolkit_app_port": 0,
    }
    hosts = {home.name: {"ansible_port": ports[home.name], "toolkit_root": str(home.root)} for home in devices}
    return "# Written by `toolkit fleet up`.\n" + json.dumps(
        {"local_fleet": {"hosts": hosts, "vars": shared}}, indent=2
    )


def _take(lock: int) -> None:
    """Take the lock. A check whether a server runs holds it for a moment, hence the retries."""
    for pause_s in (0.1, 0.3, 1.0):
        with suppress(BlockingIOError):
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        time.sleep(pause_s)
    raise SystemExit("another process serves this folder")


def main(folder: str, count: str) -> None:
    """Take the lock, write who holds it, and serve; the lock ends with the process."""
    fleet = Path(folder).absolute()
    lock = os.open(fleet / "server.pid", os.O_RDWR | os.O_CREAT, 0o644)
    _take(lock)
    os.ftruncate(lock, 0)
    os.write(lock, json.dumps({"pid": os.getpid(), "count": int(count)}).encode())
    asyncio.run(serve(fleet, int(count)))


if __name__ == "__main__":
    main(*sys.argv[1:])
