"""The cable of a virtual stick, run on the device by root: plugs in what the other end has, again and again.

It speaks USB/IP (the kernel's documentation, usbip_protocol): asks for the device at bus id 1-1 and hands the connection
to the kernel's virtual host controller, which then talks to the far end by itself. When the far end hangs up, the stick is gone; it may be
back in a moment under another id, as a stick is once its firmware runs.
"""

from __future__ import annotations

import socket
import struct
import subprocess
import time
from contextlib import suppress
from pathlib import Path

FAR_END = ("10.0.2.100", 3240)
CONTROLLER = Path("/sys/devices/platform/vhci_hcd.0")
VERSION, IMPORT = 0x0111, 0x8003
PORT, HIGH_SPEED, FREE = 0, 3, 4
PAUSE_S = 0.25


def main() -> None:
    """For ever."""
    subprocess.run(["modprobe", "vhci-hcd"], check=True)
    while True:
        with suppress(OSError):
            plug_in()
        time.sleep(PAUSE_S)


def plug_in() -> None:
    """Ask for the stick, and hand it to the kernel until it is pulled."""
    with socket.create_connection(FAR_END, 10) as connection:
        connection.settimeout(10)
        connection.sendall(struct.pack(">HHI32s", VERSION, IMPORT, 0, b"1-1"))
        _, _, refused = struct.unpack(">HHI", received(connection, 8))
        if refused:
            return
        bus, number = struct.unpack(">II", received(connection, 312)[288:296])
        connection.settimeout(None)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        device = bus << 16 | number
        (CONTROLLER / "attach").write_text(f"{PORT} {connection.fileno()} {device} {HIGH_SPEED}")
    while not is_free():
        time.sleep(PAUSE_S)


def received(connection: socket.socket, count: int) -> bytes:
    """So many bytes."""
    content = b""
    while len(content) < count:
        piece = connection.recv(count - len(content))
        if not piece:
            raise OSError("the far end hung up")
        content += piece
    return content


def is_free() -> bool:
    """Whether nothing is plugged in, by the controller's table of hub, port and status."""
    lines = (CONTROLLER / "status").read_text().splitlines()[1:]
    return all(int(line.split()[2]) == FREE for line in lines if int(line.split()[1]) == PORT)


if __name__ == "__main__":
    main()
