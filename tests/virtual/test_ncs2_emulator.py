"""The virtual stick as a host controller sees it: over USB/IP, from the process that QEMU starts for each connection."""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from toolkit.virtual.ncs2_emulator import State, Stick
from toolkit.virtual.usbip import ASK_IMPORT, ASK_LIST, SUBMIT, UNLINK, VERSION, receive

DEVICE_DESCRIPTOR = bytes.fromhex("8006000100001200")
CONFIGURATION = bytes.fromhex("800600020000ff00")
OUT, IN = 0, 1


@pytest.fixture
def stick(tmp_path: Path) -> Stick:
    stick = Stick(tmp_path / "stick")
    stick.plug_in()
    return stick


class Host:
    """What the kernel's virtual host controller does with a connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.number = 0

    def import_device(self, bus_id: bytes = b"1-1") -> tuple[int, int] | None:
        """Vendor and product, or None when it is refused."""
        self.connection.sendall(struct.pack(">HHI32s", VERSION, ASK_IMPORT, 0, bus_id))
        if struct.unpack(">HHI", receive(self.connection, 8))[2]:
            return None
        vendor, product = struct.unpack(">HH", receive(self.connection, 312)[300:304])
        return vendor, product

    def send(self, endpoint: int, direction: int, length: int, content: bytes = b"", setup: bytes = bytes(8)) -> int:
        self.number += 1
        header = struct.pack(">IIIII", SUBMIT, self.number, 0x10002, direction, endpoint)
        self.connection.sendall(header + struct.pack(">IiIii", 0, length, 0, 0, 0) + setup + content)
        return self.number

    def answer(self, *, inward: bool = False) -> tuple[int, int, bytes]:
        """Number, status and content of the next one."""
        header = receive(self.connection, 48)
        number, status, length = *struct.unpack(">4xI", header[:8]), *struct.unpack(">ii", header[20:28])
        return number, status, receive(self.connection, length) if inward else b""

    def ask(self, setup: bytes, length: int = 255) -> tuple[int, bytes]:
        self.send(0, IN, length, setup=setup)
        _, status, content = self.answer(inward=True)
        return status, content

    def write(self, content: bytes) -> None:
        self.send(1, OUT, len(content), content)
        assert self.answer()[1] == 0

    def is_hung_up(self) -> bool:
        self.connection.settimeout(5)
        return self.connection.recv(1) == b""


@contextmanager
def connected(folder: Path) -> Iterator[Host]:
    ours, theirs = socket.socketpair()
    argv = [sys.executable, "-m", "toolkit.virtual.ncs2_emulator", str(folder)]
    with ours, theirs, subprocess.Popen(argv, stdin=theirs) as process:
        theirs.close()
        ours.settimeout(10)
        yield Host(ours)
        ours.close()
        assert process.wait(60) == 0


def test_stick_is_the_boot_rom_when_it_was_plugged_in(stick: Stick, tmp_path: Path) -> None:
    with connected(tmp_path / "stick") as host:
        assert host.import_device() == (0x03E7, 0x2485)
        status, descriptor = host.ask(DEVICE_DESCRIPTOR)
        assert (status, struct.unpack("<HH", descriptor[8:12])) == (0, (0x03E7, 0x2485))
        _, configuration = host.ask(CONFIGURATION)
        assert struct.unpack("<H", configuration[2:4]) == (len(configuration),)
        _, product = host.ask(bytes.fromhex("8006020309040000")[:6] + b"\xff\x00")
        assert product[2:].decode("utf-16-le") == "Movidius MyriadX"
        assert host.ask(bytes.fromhex("8006000f00000500"))[0] == -32  # no USB 3 descriptor: it stalls


def test_stick_comes_back_as_another_when_its_firmware_was_sent(stick: Stick, tmp_path: Path) -> None:
    firmware = bytes(5 * 512 + 100)
    with connected(tmp_path / "stick") as host:
        host.import_device()
        host.write(firmware[:1024])
        assert not stick.state().running
        host.write(firmware[1024:])
        assert host.is_hung_up()
    assert stick.state() == State(plugged=True, running=True, plugs=1, firmware_bytes=len(firmware))
    with connected(tmp_path / "stick") as host:
        assert host.import_device() == (0x03E7, 0xF63B)
        early = host.send(1, IN, 64)
        host.write(b"an image")
        assert host.answer(inward=True) == (early, 0, b"an image")


def test_stick_starts_when_the_last_packet_is_empty(stick: Stick, tmp_path: Path) -> None:
    with connected(tmp_path / "stick") as host:
        host.import_device()
        host.write(bytes(1024))
        host.write(b"")
        assert host.is_hung_up()
    assert stick.state().running


def test_unplugged_stick_forgets_its_firmware(stick: Stick, tmp_path: Path) -> None:
    stick.started(1, 2000)
    with connected(tmp_path / "stick") as host:
        assert host.import_device() == (0x03E7, 0xF63B)
        stick.unplug()
        stick.plug_in()
        assert host.is_hung_up()
    with connected(tmp_path / "stick") as host:
        assert host.import_device() == (0x03E7, 0x2485)
    stick.unplug()
    stick.started(2, 2000)
    assert stick.state() == State(plugs=2)


def test_stick_cancels_a_read_that_the_host_unlinks(stick: Stick, tmp_path: Path) -> None:
    stick.started(1, 2000)
    with connected(tmp_path / "stick") as host:
        host.import_device()
        for victim, status in ((host.send(1, IN, 64), -104), (99, 0)):
            host.connection.sendall(struct.pack(">IIIIII24x", UNLINK, 1000, 0, 0, 0, victim))
            assert host.answer()[:2] == (1000, status)


def test_stick_is_listed_and_refused_by_what_is_plugged_in(stick: Stick, tmp_path: Path) -> None:
    with connected(tmp_path / "stick") as host:
        assert host.import_device(b"7-7") is None
    with connected(tmp_path / "stick") as host:
        host.connection.sendall(struct.pack(">HHI", VERSION, ASK_LIST, 0))
        assert struct.unpack(">4xII", receive(host.connection, 12)) == (0, 1)
        assert receive(host.connection, 316)[-4:] == b"\xff\xff\xff\x00"
    stick.unplug()
    with connected(tmp_path / "stick") as host:
        assert host.import_device() is None
