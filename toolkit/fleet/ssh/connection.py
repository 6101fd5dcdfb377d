"""Shells over SSH, by fabric.

A host is known by a pinned key or refused: unknown keys are never accepted silently. The user's ~/.ssh/config is not
read unless the inventory asks for it with `toolkit_ssh_config: true`, so that a fleet is reached in the same way from
every desk. Further variables: `ansible_timeout` (seconds to wait for a connection, 10 by default).
"""

from __future__ import annotations

import shlex
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.artifacts.fleet import Device
from toolkit.errors import FleetError
from toolkit.fleet import cancellation
from toolkit.fleet.ssh.shell import (
    GRACE_S,
    TIMEOUT_S,
    Ask,
    Command,
    Input,
    Result,
    Shell,
    decode,
    ended_early,
    iter_blocks,
    put_script,
    timeout_error,
)
from toolkit.fleet.ssh.ssh_errors import known_hosts_name, translate_errors

if TYPE_CHECKING:
    import paramiko

CONNECT_TIMEOUT_S = 10.0
KEEPALIVE_S = 15
PATIENCE_S = 10.0
"""How long the end of a held command is waited for when something went wrong meanwhile."""


@contextmanager
def connect(device: Device) -> Iterator[Shell]:
    """A shell on the device for the length of a with-block; its connection is closed at the end.

    Raises:
        FleetError: it cannot be reached, refuses the key, or is not the host that it was; says what to do.
    """
    shell = SshShell(device)
    try:
        with cancellation.cancellable(shell.close):
            yield shell
    finally:
        shell.close()


class SshShell:
    """A device's command line over SSH: connected when made, each command a channel of its own."""

    def __init__(self, device: Device) -> None:
        self.device = device
        with translate_errors(device):
            self._connection = _open(device)
        self._connection.transport.set_keepalive(KEEPALIVE_S)

    def run(self, command: Command, *, stdin: Input = b"", timeout: float | None = TIMEOUT_S) -> Result:
        """See Shell."""
        with self._channel(command) as channel, _deadline(self.device, channel, timeout):
            feeding = _Feeding(channel, stdin)
            listening = _Listening(channel)
            output = b"".join(_all_of(channel.recv))
            listening.join()
            code = channel.recv_exit_status()
            feeding.raise_if_failed()
            self._raise_if_lost(code)
        return Result(decode(output), decode(listening.heard), code)

    def put(self, content: bytes | Path, remote: str, *, timeout: float | None = TIMEOUT_S) -> None:
        """See Shell."""
        self.run(put_script(remote), stdin=iter_blocks(content), timeout=timeout).check(
            self.device, f"writing {remote}"
        )

    @contextmanager
    def background(self, command: Command, *, timeout: float | None = TIMEOUT_S) -> Iterator[str]:
        """See Shell."""
        with self._channel(command) as channel:
            with _deadline(self.device, channel, timeout):
                line = channel.makefile("rb").readline()
                self._raise_if_lost(0)
            try:
                yield decode(line).strip()
            except BaseException:
                with suppress(FleetError, OSError, EOFError):
                    self._let_go(channel, PATIENCE_S)
                raise
            self._let_go(channel, timeout)

    def dial(self, port: int) -> paramiko.Channel:
        """A connection from the device to its own loopback port, as `tunnel` wants it."""
        with translate_errors(self.device):
            transport: paramiko.Transport = self._connection.transport
            return transport.open_channel("direct-tcpip", ("127.0.0.1", port), ("127.0.0.1", 0))

    def follow(self, command: Command, tell: Callable[[str], None]) -> None:
        """See Shell."""
        with self._channel(command) as channel, channel.makefile("rb") as lines:
            for line in lines:
                tell(decode(line).rstrip("\n"))
            self._raise_if_lost(0)

    @contextmanager
    def converse(self, command: Command) -> Iterator[Ask]:
        """See Shell."""
        with self._channel(command) as channel, channel.makefile("rb") as lines:
            listening = _Listening(channel)

            def ask(line: bytes, timeout: float) -> str:
                with _deadline(self.device, channel, timeout):
                    with suppress(OSError, EOFError):  # its end is seen by what it answers: nothing
                        channel.sendall(line + b"\n")
                    answer = lines.readline()
                if not answer:
                    self._raise_if_lost(-1)
                    listening.join(GRACE_S)
                    raise ended_early(self.device, decode(listening.heard))
                return decode(answer)

            yield ask
            with suppress(OSError, EOFError):
                channel.shutdown_write()

    def _let_go(self, channel: paramiko.Channel, timeout: float | None) -> None:
        """Close the stdin of a command that was held, and wait for its end."""
        channel.shutdown_write()
        with _deadline(self.device, channel, timeout):
            channel.recv_exit_status()

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    @contextmanager
    def _channel(self, command: Command) -> Iterator[paramiko.Channel]:
        """A channel on which the command has been started, a script by /bin/sh; the login shell makes way for it."""
        words = ["/bin/sh", "-c", command] if isinstance(command, str) else command
        with translate_errors(
            self.device
        ):  # not by fabric's create_session, which would open a closed connection again
            channel = self._connection.transport.open_session()
            channel.exec_command(f"exec {shlex.join(words)}")
        try:
            yield channel
        finally:
            channel.close()

    def _raise_if_lost(self, code: int) -> None:
        """A command ended by a signal has no exit code; nor has one whose connection is gone."""
        if not self._connection.is_connected or (code == -1 and not self._connection.transport.is_active()):
            raise FleetError(
                "the connection was lost", where=self.device.name, remedy="run the command again; what was sent is kept"
            )


def _open(device: Device) -> Any:
    """A connected fabric.Connection."""
    import fabric
    import paramiko

    own = None if device.variables.get("toolkit_ssh_config") else paramiko.SSHConfig()
    connection = fabric.Connection(
        device.host,
        user=device.user,
        port=device.port,
        config=fabric.Config(lazy=own is not None, ssh_config=own),
        connect_timeout=float(str(device.variables.get("ansible_timeout", CONNECT_TIMEOUT_S))),
        connect_kwargs=_credentials(device)
        | {"banner_timeout": CONNECT_TIMEOUT_S, "auth_timeout": CONNECT_TIMEOUT_S, "transport_factory": _transport},
    )
    connection.client = _client(device)
    connection.open()
    _send_at_once(connection.transport.sock)
    return connection


def _transport(*given: Any, **named: Any) -> paramiko.Transport:
    """What paramiko makes, which would ask for AES-CTR and a MAC first: GCM does both at once, at half the processor time."""
    import paramiko

    transport = paramiko.Transport(*given, **named)
    options = transport.get_security_options()
    options.ciphers = tuple(sorted(options.ciphers, key=lambda name: "-gcm@" not in name))
    return transport


def _send_at_once(way: object) -> None:
    """Small messages must not wait for the acknowledgement of earlier ones, which the far side puts off by 40 ms."""
    if isinstance(way, socket.socket):  # through a jump host it is a channel of another connection
        way.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _credentials(device: Device) -> dict[str, Any]:
    """The inventory's key and no other; without one, the agent's and the user's own."""
    if device.key_file is None:
        return {"allow_agent": True, "look_for_keys": True}
    return {"key_filename": device.key_file, "allow_agent": False, "look_for_keys": False}


def _client(device: Device) -> paramiko.SSHClient:
    """Knows the pinned keys, refuses every other."""
    import paramiko

    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    if device.known_hosts is None:
        client.load_system_host_keys()
    else:
        name = known_hosts_name(device)
        pinned = _pinned(device.known_hosts, Path(device.known_hosts).stat().st_mtime_ns).lookup(name)
        for kind, key in pinned.items() if pinned else ():
            client.get_host_keys().add(name, kind, key)
    return client


@lru_cache(maxsize=8)
def _pinned(known_hosts: str, changed_ns: int) -> paramiko.HostKeys:
    """A file of host keys, read once for all the devices that it names: it takes as long as a login."""
    import paramiko

    del changed_ns  # one that was changed since is another
    return paramiko.HostKeys(known_hosts)


@contextmanager
def _deadline(device: Device, channel: paramiko.Channel, timeout: float | None) -> Iterator[None]:
    """Close the channel when time is up, which ends whatever waits on it."""
    if timeout is None:
        yield
        return
    rang = threading.Event()

    def ring() -> None:
        rang.set()
        channel.close()

    timer = threading.Timer(timeout, ring)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if rang.is_set():
            raise timeout_error(device, timeout)


class _Feeding(threading.Thread):
    """Sends what a command reads while its output is being received; a command that has ended wants no more."""

    def __init__(self, channel: paramiko.Channel, content: Input) -> None:
        super().__init__(daemon=True)
        self._channel, self._content = channel, content
        self._error: Exception | None = None
        self.start()

    def run(self) -> None:
        """Send all of it, then the end."""
        content = iter_blocks(self._content)
        while (piece := self._next(content)) is not None:
            try:
                self._channel.sendall(piece)
            except (OSError, EOFError):  # the latter when the whole connection is gone
                return
        with suppress(OSError, EOFError):
            self._channel.shutdown_write()

    def _next(self, content: Iterator[bytes]) -> bytes | None:
        """The next piece. If reading it fails here, the command must not take what it has for all there is."""
        try:
            return next(content, None)
        except Exception as error:  # noqa: BLE001 - raised again in the thread that waits for the command
            self._error = error
            self._channel.close()
            return None

    def raise_if_failed(self) -> None:
        """What went wrong on this side, if anything did."""
        if self._error is not None:
            raise self._error


class _Listening(threading.Thread):
    """Collects a command's stderr while its stdout is being received."""

    def __init__(self, channel: paramiko.Channel) -> None:
        super().__init__(daemon=True)
        self._channel = channel
        self.heard = b""
        self.start()

    def run(self) -> None:
        """Until the far side is done."""
        self.heard = b"".join(_all_of(self._channel.recv_stderr))


def _all_of(receive: Callable[[int], bytes]) -> Iterator[bytes]:
    """What arrives until the far side is done."""
    yield from iter(lambda: receive(1 << 16), b"")
