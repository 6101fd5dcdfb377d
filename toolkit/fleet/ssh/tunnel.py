"""Port forwarding: a local port whose connections go to a port of the device's loopback interface."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from toolkit.fleet.ssh.shell import Shell, Stream

ADDRESS = "127.0.0.1"
_BLOCK_BYTES = 1 << 16


@contextmanager
def tunnel(shell: Shell, port: int) -> Iterator[int]:
    """A local port for the length of a with-block; its connections go to the device's loopback `port`."""
    with socket.create_server((ADDRESS, 0)) as listening:
        relays = Relays(listening, lambda: shell.dial(port))
        relays.start()
        try:
            yield listening.getsockname()[1]
        finally:
            relays.stop()


class Relays(threading.Thread):
    """Accepts connections and relays their data in both directions."""

    def __init__(self, listening: socket.socket, dial: Callable[[], Stream]) -> None:
        super().__init__(daemon=True, name="tunnel")
        self._listening, self._dial = listening, dial
        self._lock = threading.Lock()
        self._open: set[Stream] = set()

    def run(self) -> None:
        """Accept until `stop` is called."""
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._relay, args=(near,), daemon=True).start()

    def _relay(self, near: socket.socket) -> None:
        """Relay one connection until both sides are done or one of them is gone."""
        near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            far = self._dial()
        except Exception:  # noqa: BLE001 - whatever is wrong, the client sees its connection closed
            near.close()
            return
        with self._lock:
            self._open |= {near, far}
        back = threading.Thread(target=_copy, args=(far, near), daemon=True)
        back.start()
        _copy(near, far)
        back.join()
        with self._lock:
            self._open -= {near, far}
        near.close()
        far.close()

    def stop(self) -> None:
        """Stop accepting, and close open connections."""
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self.join()
        with self._lock:
            streams = list(self._open)
        for stream in streams:
            with suppress(OSError, EOFError):
                stream.shutdown(socket.SHUT_RDWR)


def _copy(source: Stream, sink: Stream) -> None:
    """Copy until the source ends, then close the sink for writing."""
    with suppress(OSError, EOFError):
        while block := source.recv(_BLOCK_BYTES):
            sink.sendall(block)
    with suppress(OSError, EOFError):
        sink.shutdown(socket.SHUT_WR)
