"""Emulated Neural Compute Stick 2: its two USB identities, and the transition between them.

Plugged in, it is 03e7:2485, the boot ROM. It receives firmware on a bulk endpoint, in packets of 512 bytes up to the first
shorter one, then leaves the bus and returns as 03e7:f63b. It computes nothing: it echoes what is written to it.

Its state is a file, so a user or a test can unplug it (`Stick(folder).unplug()`) while QEMU runs
`python -m toolkit.virtual.ncs2_emulator FOLDER` for each connection of the device's USB/IP client, with the connection as stdin.
"""

from __future__ import annotations

import fcntl
import json
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from toolkit.files import atomic_write
from toolkit.virtual.usbip import Identity, serve

VENDOR = 0x03E7
BOOT_ROM, FIRMWARE = 0x2485, 0xF63B
PACKET_BYTES = 512

_NAMES = {
    BOOT_ROM: ("Movidius Ltd.", "Movidius MyriadX", "03e72485"),
    FIRMWARE: ("Intel Corporation", "VSC Loopback Device", "41440000"),
}
_TO_HOST = 0x80
_GET_STATUS, _GET_DESCRIPTOR, _GET_CONFIGURATION, _GET_INTERFACE = 0, 6, 8, 10
_DEVICE, _CONFIGURATION, _STRING = 1, 2, 3


@dataclass(frozen=True, slots=True)
class State:
    """State of the stick: `plugs` counts how often it was plugged in, `firmware_bytes` the firmware received since."""

    plugged: bool = False
    running: bool = False
    plugs: int = 0
    firmware_bytes: int = 0

    @property
    def product(self) -> int:
        """USB product id."""
        return FIRMWARE if self.running else BOOT_ROM


class Stick:
    """The stick of `folder`. Several processes may read and change its state."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "stick.json"

    def state(self) -> State:
        """Return the current state."""
        with suppress(FileNotFoundError):
            return State(**json.loads(self._path.read_bytes()))
        return State()

    def plug_in(self) -> None:
        """Plug the stick in, without firmware."""
        with self._changing() as now:
            if not now.plugged:
                self._write(State(plugged=True, plugs=now.plugs + 1))

    def unplug(self) -> None:
        """Unplug the device, also while it is busy."""
        with self._changing() as now:
            self._write(State(plugs=now.plugs))

    def started(self, plugs: int, firmware_bytes: int) -> None:
        """Record that the firmware runs, unless the stick was unplugged since it was plugged in for the `plugs`th time."""
        with self._changing() as now:
            if now.plugged and now.plugs == plugs:
                self._write(replace(now, running=True, firmware_bytes=firmware_bytes))

    @contextmanager
    def _changing(self) -> Iterator[State]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield self.state()

    def _write(self, state: State) -> None:
        with atomic_write(self._path, durable=False) as stream:
            stream.write(json.dumps(asdict(state)).encode())


class Plugged:
    """The stick between two changes of its identity: a UsbDevice."""

    def __init__(self, stick: Stick, state: State) -> None:
        self._stick, self._state = stick, state
        self.identity = Identity(VENDOR, state.product)
        self._firmware_bytes = 0
        self._echo = bytearray()

    @classmethod
    def now(cls, stick: Stick) -> Plugged | None:
        """Return the stick if it is plugged in."""
        state = stick.state()
        return cls(stick, state) if state.plugged else None

    def is_there(self) -> bool:
        """See UsbDevice."""
        return self._stick.state() == self._state

    def write(self, content: bytes) -> None:
        """See UsbDevice."""
        if self._state.running:
            self._echo += content
            return
        self._firmware_bytes += len(content)
        if len(content) % PACKET_BYTES or not content:
            self._stick.started(self._state.plugs, self._firmware_bytes)

    def read(self, limit: int) -> bytes:
        """See UsbDevice."""
        content = bytes(self._echo[:limit])
        del self._echo[:limit]
        return content

    def control(self, setup: bytes) -> bytes | None:
        """See UsbDevice."""
        kind, request, value, _, _ = struct.unpack("<BBHHH", setup)
        if not kind & _TO_HOST:
            return b""
        if (kind, request) == (_TO_HOST, _GET_DESCRIPTOR):
            return self._descriptor(value >> 8, value & 0xFF)
        answers = {_GET_STATUS: b"\x00\x00", _GET_CONFIGURATION: b"\x01", _GET_INTERFACE: b"\x00"}
        return answers.get(request)

    def _descriptor(self, kind: int, index: int) -> bytes | None:
        if kind == _DEVICE:
            identity = (VENDOR, self._state.product, 0x0001)
            return struct.pack("<BBHBBBBHHHBBBB", 18, _DEVICE, 0x0200, 0, 0, 0, 64, *identity, 1, 2, 3, 1)
        if kind == _CONFIGURATION and index == 0:
            return _configuration()
        if kind == _STRING and index == 0:
            return b"\x04\x03\x09\x04"  # American English
        if kind == _STRING and index <= 3:
            text = _NAMES[self._state.product][index - 1].encode("utf-16-le")
            return bytes([len(text) + 2, _STRING]) + text
        return None


def _configuration() -> bytes:
    """One vendor-specific interface with a bulk endpoint in each direction; 500 mA."""
    body = struct.pack("<BBBBBBBBB", 9, 4, 0, 0, 2, 0xFF, 0xFF, 0xFF, 0)
    for endpoint in (0x81, 0x01):
        body += struct.pack("<BBBBHB", 7, 5, endpoint, 2, PACKET_BYTES, 0)
    return struct.pack("<BBHBBBBB", 9, 2, 9 + len(body), 1, 1, 0, 0x80, 250) + body


def main(folder: str) -> None:
    """Serve the connection on stdin."""
    stick = Stick(Path(folder))
    with socket.socket(fileno=0) as connection, suppress(EOFError, OSError):
        serve(connection, lambda: Plugged.now(stick))


if __name__ == "__main__":
    main(*sys.argv[1:])
