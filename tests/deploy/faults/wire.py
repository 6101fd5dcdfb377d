"""The way to a device, with what can be wrong with it: a TCP relay that counts, cuts, flips and slows."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from toolkit.artifacts.fleet import Device


@dataclass
class Wire:
    """What is between the controller and one device; changed while it runs."""

    device: Device
    passed: int = 0
    """Bytes towards the device so far."""
    cut_at: int | None = None
    """After so many bytes towards the device its connections are reset."""
    flip_at: int | None = None
    """The byte whose lowest bit is flipped on its way to the device."""
    bytes_per_s: float | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def carry(self, content: bytes) -> bytes | None:
        """What arrives of it; None if the connection is cut."""
        with self._lock:
            start, self.passed = self.passed, self.passed + len(content)
        if self.bytes_per_s is not None:
            time.sleep(len(content) / self.bytes_per_s)
        if self.cut_at is not None and self.passed >= self.cut_at:
            return None
        if self.flip_at is not None and start <= self.flip_at < self.passed:
            place = self.flip_at - start
            return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        return content


@contextmanager
def wired(device: Device, folder: Path) -> Iterator[Wire]:
    """The device as it is reached through a wire of its own."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        known = Path(str(device.known_hosts)).read_text().splitlines()
        (key,) = (line.split(" ", 1)[1] for line in known if f":{device.port} " in line)
        hosts = folder / f"known_hosts_{port}"
        hosts.write_text(f"[127.0.0.1]:{port} {key}\n")
        wire = Wire(replace(device, port=port, known_hosts=str(hosts)))
        threading.Thread(target=_accept, args=(listening, device.port, wire), daemon=True).start()
        yield wire
        with suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)


def _accept(listening: socket.socket, port: int, wire: Wire) -> None:
    with suppress(OSError):
        while True:
            near, _ = listening.accept()
            far = socket.create_connection(("127.0.0.1", port))
            threading.Thread(target=_relay, args=(near, far, wire), daemon=True).start()
            threading.Thread(target=_relay, args=(far, near, None), daemon=True).start()


def _relay(source: socket.socket, sink: socket.socket, wire: Wire | None) -> None:
    with suppress(OSError):
        while content := source.recv(8192):
            arrives = content if wire is None else wire.carry(content)
            if arrives is None:
                break
            sink.sendall(arrives)
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
