"""A port here that comes out on a device: what answers there on loopback alone is reached through SSH."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import paramiko

ADDRESS = "127.0.0.1"
CHUNK = 1 << 16


class Dials(Protocol):
    """What a tunnel goes through; SecureShell is one."""

    def dial(self, port: int) -> paramiko.Channel:
        """A connection from the device to its own loopback port. Raises FleetError when nobody answers there."""


@contextmanager
def tunnel(shell: Dials, port: int) -> Iterator[int]:
    """A local port for the length of a with-block; each connection to it goes to the device's loopback `port`."""
    with socket.create_server((ADDRESS, 0)) as listening:
        relays = Relays(listening, lambda: shell.dial(port))
        relays.start()
        try:
            yield listening.getsockname()[1]
        finally:
            relays.end()


class Relays(threading.Thread):
    """Accepts connections, and carries what is said on each of them both ways."""

    def __init__(self, listening: socket.socket, dial: Callable[[], paramiko.Channel]) -> None:
        super().__init__(daemon=True, name="tunnel")
        self._listening, self._dial = listening, dial
        self._lock = threading.Lock()
        self._open: set[socket.socket | paramiko.Channel] = set()

    def run(self) -> None:
        """Until `end`."""
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._relay, args=(near,), daemon=True).start()

    def _relay(self, near: socket.socket) -> None:
        """One connection, until both sides are done or one of them is gone."""
        near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            far = self._dial()
        except Exception:  # noqa: BLE001 - whatever is wrong, the client sees its connection closed
            near.close()
            return
        with self._lock:
            self._open |= {near, far}
        back = threading.Thread(target=_carry, args=(far, near), daemon=True)
        back.start()
        _carry(near, far)
        back.join()
        with self._lock:
            self._open -= {near, far}
        near.close()
        far.close()

    def end(self) -> None:
        """Accept no more, and close what is open."""
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self.join()
        with self._lock:
            ways = list(self._open)
        for way in ways:
            with suppress(OSError, EOFError):
                way.shutdown(socket.SHUT_RDWR)


def _carry(source: socket.socket | paramiko.Channel, sink: socket.socket | paramiko.Channel) -> None:
    """Until the source is done; the sink is then told so."""
    with suppress(OSError, EOFError):
        while piece := source.recv(CHUNK):
            sink.sendall(piece)
    with suppress(OSError, EOFError):
        sink.shutdown(socket.SHUT_WR)
