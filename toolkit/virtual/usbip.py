"""One USB device over one connection, as USB/IP carries it (the kernel's documentation, usbip_protocol.rst).

A client asks what there is or for the device by its bus id; from then on it sends requests (URBs) of its host controller, and
gets an answer for each. Numbers on the wire are big-endian, but for those inside of USB's own messages.
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
    """What a bus shows of a device before anybody speaks to it."""

    vendor: int
    product: int

    def packed(self) -> bytes:
        """As both replies carry it: the path, the bus id, where and how fast it is, and what."""
        path = f"/sys/devices/virtual/{BUS_ID}".encode()
        where = struct.pack(">256s32sIII", path, BUS_ID.encode(), 1, 2, HIGH_SPEED)
        return where + struct.pack(">HHHBBBBBB", self.vendor, self.product, 1, 0, 0, 0, 1, 1, 1)


class UsbDevice(Protocol):
    """What is at the far end of the cable."""

    identity: Identity

    def control(self, setup: bytes) -> bytes | None:
        """What it answers to a control request of eight bytes; None stalls."""

    def write(self, content: bytes) -> None:
        """What arrived on its bulk endpoint."""

    def read(self, limit: int) -> bytes:
        """What it has to say on the other one; empty: nothing yet."""

    def is_there(self) -> bool:
        """False ends the connection: it was pulled, or comes back as another."""


def serve(connection: socket.socket, device: Callable[[], UsbDevice | None]) -> None:
    """One client's whole conversation; `device` gives what is plugged in now, if anything is."""
    version, asked, _ = struct.unpack(">HHI", receive(connection, 8))
    plugged = device()
    if version != VERSION:
        return
    if asked == ASK_LIST:
        interface = b"\xff\xff\xff\x00"
        found = b"" if plugged is None else plugged.identity.packed() + interface
        connection.sendall(struct.pack(">HHII", VERSION, GIVE_LIST, 0, int(bool(found))) + found)
    elif asked == ASK_IMPORT:
        wanted = receive(connection, 32).rstrip(b"\0").decode()
        if plugged is None or wanted != BUS_ID:
            connection.sendall(struct.pack(">HHI", VERSION, GIVE_IMPORT, 1))
        else:
            connection.sendall(struct.pack(">HHI", VERSION, GIVE_IMPORT, 0) + plugged.identity.packed())
            _Requests(connection, plugged).serve()


class _Requests:
    """Answers what a host controller asks, until the device or the client is gone."""

    def __init__(self, connection: socket.socket, device: UsbDevice) -> None:
        self._connection, self._device = connection, device
        self._waiting: dict[int, int] = {}
        """Of reads that there is no answer to yet: how many bytes at most, by number."""

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
    """So many bytes.

    Raises:
        EOFError: the far end hung up.
    """
    content = bytearray()
    while len(content) < count:
        piece = connection.recv(count - len(content))
        if not piece:
            raise EOFError
        content += piece
    return bytes(content)
