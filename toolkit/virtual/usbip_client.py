"""USB/IP client of a virtual device, run by root: attaches the virtual NCS2 whenever it is plugged in.

It imports the device at bus id 1-1 (protocol: usbip_protocol in the kernel's documentation) and hands the connection to the
kernel's virtual host controller. When the server closes the connection, the stick is gone; it may return under another id, as
it does once its firmware runs.
"""

from __future__ import annotations

import socket
import struct
import subprocess
import time
from contextlib import suppress
from pathlib import Path

SERVER = ("10.0.2.100", 3240)
CONTROLLER = Path("/sys/devices/platform/vhci_hcd.0")
VERSION, IMPORT = 0x0111, 0x8003
PORT, HIGH_SPEED, FREE = 0, 3, 4
PAUSE_S = 0.25


def main() -> None:
    """Attach the stick, forever."""
    subprocess.run(["modprobe", "vhci-hcd"], check=True)
    while True:
        with suppress(OSError):
            attach()
        time.sleep(PAUSE_S)


def attach() -> None:
    """Import the stick and attach it until it is unplugged."""
    with socket.create_connection(SERVER, 10) as connection:
        connection.settimeout(10)
        connection.sendall(struct.pack(">HHI32s", VERSION, IMPORT, 0, b"1-1"))
        _, _, refused = struct.unpack(">HHI", receive(connection, 8))
        if refused:
            return
        bus, number = struct.unpack(">II", receive(connection, 312)[288:296])
        connection.settimeout(None)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        device = bus << 16 | number
        (CONTROLLER / "attach").write_text(f"{PORT} {connection.fileno()} {device} {HIGH_SPEED}")
    while not is_free():
        time.sleep(PAUSE_S)


def receive(connection: socket.socket, count: int) -> bytes:
    """Receive exactly `count` bytes."""
    content = b""
    while len(content) < count:
        block = connection.recv(count - len(content))
        if not block:
            raise OSError("the server closed the connection")
        content += block
    return content


def is_free() -> bool:
    """Whether the port is free, by the controller's status table (hub, port, status)."""
    lines = (CONTROLLER / "status").read_text().splitlines()[1:]
    return all(int(line.split()[2]) == FREE for line in lines if int(line.split()[1]) == PORT)


if __name__ == "__main__":
    main()
