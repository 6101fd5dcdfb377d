"""USB/IP server for one USB device over one connection (protocol: usbip_protocol.rst in the kernel's documentation).

A client lists devices or imports one by its bus id. It then sends the requests (URBs) of its host controller, and gets an answer
for each. Integers are big-endian, except inside USB's own messages.
"""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

VERSION = 0x0111
ASK_LIST, GIVE_LIST, ASK_IMPORT, GIVE_IMPORT = 0x8005, 0x0005, 0x8003, 0x0003
SUBMIT, UNLINK, SUBMITTED, UNLINKED = 1, 2, 3, 4
HIGH_SPEED = 3
BROKEN_PIPE, CONNECTION_RESET = 32, 104
BUS_ID = "1-1"

_HEADER_BYTES = 48
_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Identity:
    """USB vendor and product id."""

    vendor: int
    product: int

    def packed(self) -> bytes:
        """Return the device record of both replies: path, bus id, bus position, speed and ids."""
        path = f"/sys/devices/virtual/{BUS_ID}".encode()
        where = struct.pack(">256s32sIII", path, BUS_ID.encode(), 1, 2, HIGH_SPEED)
        return where + struct.pack(">HHHBBBBBB", self.vendor, self.product, 1, 0, 0, 0, 1, 1, 1)


class UsbDevice(Protocol):
    """Interface of an emulated USB device."""

    identity: Identity

    def control(self, setup: bytes) -> bytes | None:
        """Answer a control request of eight bytes; None stalls."""

    def write(self, content: bytes) -> None:
        """Receive data on the bulk endpoint."""

    def read(self, limit: int) -> bytes:
        """Return data for the host; empty if there is none yet."""

    def is_there(self) -> bool:
        """Whether the device is still connected; False ends the connection."""


def serve(connection: socket.socket, device: Callable[[], UsbDevice | None]) -> None:
    """Serve one client; `device` returns the plugged-in device, if any."""
    version, command, _ = struct.unpack(">HHI", receive(connection, 8))
    plugged = device()
    if version != VERSION:
        return
    if command == ASK_LIST:
        interface = b"\xff\xff\xff\x00"
        listed = b"" if plugged is None else plugged.identity.packed() + interface
        connection.sendall(struct.pack(">HHII", VERSION, GIVE_LIST, 0, int(bool(listed))) + listed)
    elif command == ASK_IMPORT:
        bus_id = receive(connection, 32).rstrip(b"\0").decode()
        if plugged is None or bus_id != BUS_ID:
            connection.sendall(struct.pack(">HHI", VERSION, GIVE_IMPORT, 1))
        else:
            connection.sendall(struct.pack(">HHI", VERSION, GIVE_IMPORT, 0) + plugged.identity.packed())
            _Requests(connection, plugged).serve()


class _Requests:
    """Answers requests of a host controller until the device or the client disconnects."""

    def __init__(self, connection: socket.socket, device: UsbDevice) -> None:
        self._connection, self._device = connection, device
        self._waiting: dict[int, int] = {}
        """Maximum bytes of pending reads, by request number."""

    def serve(self) -> None:
        while self._device.is_there():
            if select.select([self._connection], [], [], _POLL_S)[0]:
                self._take(receive(self._connection, _HEADER_BYTES))
            self._answer_reads()

    def _take(self, header: bytes) -> None:
        command, number, _, inward, endpoint = struct.unpack(">IIIII", header[:20])
        (length,) = struct.unpack(">i", header[24:28])
        if command == UNLINK:
            (other,) = struct.unpack(">I", header[20:24])
            gone = self._waiting.pop(other, None) is not None
            self._send(UNLINKED, number, -CONNECTION_RESET if gone else 0)
        elif endpoint == 0:
            self._control(number, header[40:48], length, inward=bool(inward))
        elif inward:
            self._waiting[number] = length
        else:
            self._device.write(receive(self._connection, length))
            self._send(SUBMITTED, number, 0, length)

    def _control(self, number: int, setup: bytes, length: int, *, inward: bool) -> None:
        sent = b"" if inward else receive(self._connection, length)
        answer = self._device.control(setup)
        if answer is None:
            self._send(SUBMITTED, number, -BROKEN_PIPE)
        elif inward:
            self._send(SUBMITTED, number, 0, len(answer[:length]), answer[:length])
        else:
            self._send(SUBMITTED, number, 0, len(sent))

    def _answer_reads(self) -> None:
        for number, limit in list(self._waiting.items()):
            content = self._device.read(limit)
            if not content:
                return
            del self._waiting[number]
            self._send(SUBMITTED, number, 0, len(content), content)

    def _send(self, kind: int, number: int, status: int, length: int = 0, content: bytes = b"") -> None:
        header = struct.pack(">IIIIIiiiii8x", kind, number, 0, 0, 0, status, length, 0, 0, 0)
        self._connection.sendall(header + content)


def receive(connection: socket.socket, count: int) -> bytes:
    """Receive exactly `count` bytes.

    Raises:
        EOFError: the connection was closed.
    """
    content = bytearray()
    while len(content) < count:
        block = connection.recv(count - len(content))
        if not block:
            raise EOFError
        content += block
    return bytes(content)
