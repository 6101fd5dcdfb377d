"""A shell over SSH with fabric and paramiko."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.artifacts.fleet import Device
from toolkit.errors import FleetError
from toolkit.fleet.ssh.shell import (
    GRACE_S,
    TIMEOUT_S,
    Ask,
    Command,
    CommandResult,
    Input,
    after_begin,
    decode,
    ended_early,
    iter_blocks,
    lost_error,
    put_script,
    remote_command,
    request_blocks,
    skip_to_begin,
    timeout_error,
)
from toolkit.fleet.ssh.ssh_errors import known_hosts_name, session_error, translate_errors

if TYPE_CHECKING:
    import paramiko

KEEPALIVE_S = 15
PATIENCE_S = 10.0
"""How long to wait for the end of a background command when something went wrong meanwhile."""
MAX_CONNECTIONS = 4
"""Connections to one device, where its server allows one session on each (MaxSessions 1)."""
LEAST_WINDOW_BYTES = 512 << 10
LINK_BYTES_PER_S = 125e6
"""The fastest link that a large input is to fill: gigabit Ethernet."""
_MIN_RTT_OFFSET = 148
"""Of `tcpi_min_rtt`, in microseconds, in Linux's struct tcp_info."""
_RSA = ("rsa-sha2-512", "rsa-sha2-256", "ssh-rsa")


class SshShell:
    """A device's command line over SSH by fabric: connected when made; each command is a channel of its own."""

    transport = "fabric"

    def __init__(self, device: Device) -> None:
        self.device = device
        self._connections: list[Any] = []
        self._connect()

    @property
    def is_open(self) -> bool:
        """See Shell."""
        return bool(self._connections[0].is_connected)

    def run(self, command: Command, *, stdin: Input = b"", timeout: float | None = TIMEOUT_S) -> CommandResult:
        """See Shell."""
        with self._channel(command) as channel, _deadline(self.device, channel, timeout):
            feeder = _Feeder(channel, stdin)
            errors = _Reader(channel)
            output = b"".join(_read_all(channel.recv))
            errors.join()
            code = channel.recv_exit_status()
            feeder.raise_if_failed()
            self._raise_if_lost(code)
        return CommandResult(decode(after_begin(output)), decode(errors.content), code)

    def put(self, content: bytes | Path, remote: str, *, timeout: float | None = TIMEOUT_S) -> None:
        """See Shell."""
        self.run(put_script(remote), stdin=iter_blocks(content), timeout=timeout).check(
            self.device, f"writing {remote}"
        )

    @contextmanager
    def background(self, command: Command, *, timeout: float | None = TIMEOUT_S) -> Iterator[str]:
        """See Shell."""
        with self._channel(command) as channel:
            with _deadline(self.device, channel, timeout), channel.makefile("rb") as lines:
                skip_to_begin(lines)
                line = lines.readline()
                self._raise_if_lost(0)
            try:
                yield decode(line).strip()
            except BaseException:
                with suppress(FleetError, OSError, EOFError):
                    self._end(channel, PATIENCE_S)
                raise
            self._end(channel, timeout)

    def follow(self, command: Command, on_line: Callable[[str], None]) -> None:
        """See Shell."""
        with self._channel(command) as channel, channel.makefile("rb") as lines:
            skip_to_begin(lines)
            for line in lines:
                on_line(decode(line).rstrip("\n"))
            self._raise_if_lost(0)

    @contextmanager
    def converse(self, command: Command) -> Iterator[Ask]:
        """See Shell."""
        with self._channel(command) as channel, channel.makefile("rb") as lines:
            errors = _Reader(channel)
            skip_to_begin(lines)

            window_bytes = _window_bytes(channel.get_transport())

            def ask(request: Input, timeout: float) -> str:
                with _deadline(self.device, channel, timeout):
                    for block in request_blocks(request):
                        if not _send(channel, block, window_bytes):
                            break  # a command that has ended gives no answer
                    answer = lines.readline()
                if not answer:
                    self._raise_if_lost(-1)
                    errors.join(GRACE_S)
                    raise ended_early(self.device, decode(errors.content))
                return decode(answer)

            yield ask
            with suppress(OSError, EOFError):
                channel.shutdown_write()

    def dial(self, port: int) -> paramiko.Channel:
        """See Shell."""
        with translate_errors(self.device):
            transport: paramiko.Transport = self._connections[0].transport
            return transport.open_channel("direct-tcpip", ("127.0.0.1", port), ("127.0.0.1", 0))

    def close(self) -> None:
        """See Shell."""
        for connection in self._connections:
            connection.close()

    def _connect(self) -> Any:
        with translate_errors(self.device):
            connection = _open(self.device)
        connection.transport.set_keepalive(KEEPALIVE_S)
        self._connections.append(connection)
        return connection

    def _end(self, channel: paramiko.Channel, timeout: float | None) -> None:
        """Close the stdin of a background command, and wait until it ends."""
        channel.shutdown_write()
        with _deadline(self.device, channel, timeout):
            channel.recv_exit_status()

    @contextmanager
    def _channel(self, command: Command) -> Iterator[paramiko.Channel]:
        """A channel on which the command has been started."""
        with translate_errors(self.device):
            channel = self._session()
            channel.exec_command(remote_command(command))
        try:
            yield channel
        finally:
            channel.close()

    def _session(self) -> paramiko.Channel:
        """Open a session, on a further connection if the server allows no more on the first."""
        import paramiko

        for connection in self._connections:
            try:
                session: paramiko.Channel = connection.transport.open_session()  # fabric's own would reconnect
            except paramiko.ChannelException:
                continue
            else:
                return session
        if len(self._connections) >= MAX_CONNECTIONS:
            raise session_error(self.device)
        try:
            further: paramiko.Channel = self._connect().transport.open_session()
        except paramiko.ChannelException:
            raise session_error(self.device) from None
        return further

    def _raise_if_lost(self, code: int) -> None:
        """A command ended by a signal has no exit code; nor has one whose connection is gone."""
        first = self._connections[0]
        if not first.is_connected or (code == -1 and not first.transport.is_active()):
            raise lost_error(self.device)


def _open(device: Device) -> Any:
    """Return a connected fabric.Connection."""
    import fabric
    import paramiko

    timeout_s = device.connect_timeout_s
    pinned = _pinned_keys(device)
    kinds = tuple(name for kind in pinned or () for name in (_RSA if kind == "ssh-rsa" else (kind,)))
    connection = fabric.Connection(
        device.host,
        user=device.user,
        port=device.port,
        config=fabric.Config(lazy=True, ssh_config=paramiko.SSHConfig()),
        connect_timeout=timeout_s,
        connect_kwargs=_credentials(device)
        | {"banner_timeout": timeout_s, "auth_timeout": timeout_s}
        | {"transport_factory": lambda *values, **named: _transport(kinds, *values, **named)},
    )
    connection.client = _client(device, pinned)
    connection.open()
    _send_at_once(connection.transport.sock)
    return connection


def _transport(host_key_kinds: tuple[str, ...], *values: Any, **named: Any) -> paramiko.Transport:
    """Return a transport that asks for the pinned kinds of host key alone, and for AES-GCM first, which is the fastest."""
    import paramiko

    transport = paramiko.Transport(*values, **named)
    security = transport.get_security_options()
    security.ciphers = tuple(sorted(security.ciphers, key=lambda name: "-gcm@" not in name))
    if kinds := tuple(kind for kind in security.key_types if kind in host_key_kinds):
        security.key_types = kinds
    return transport


def _window_bytes(transport: paramiko.Transport) -> int | None:
    """Return how many bytes may be on their way to a command; None for as many as the server allows.

    OpenSSH's server allows 2 MiB and holds what the command has not read yet in a buffer, which it copies whenever it grows:
    more work than deciphering. What a link carries within a round trip keeps that buffer small and the link busy. Only its
    server is known to ask for more after 96 KiB; others may wait until a large part of their window is used.
    """
    round_trip_s = _round_trip_s(transport.sock)
    if round_trip_s is None or not transport.remote_version.startswith("SSH-2.0-OpenSSH"):
        return None
    return max(LEAST_WINDOW_BYTES, int(round_trip_s * LINK_BYTES_PER_S))


def _round_trip_s(connected: object) -> float | None:
    """Return the shortest round trip to the server; None if it is not known, as through a proxy command."""
    if not isinstance(connected, socket.socket) or not hasattr(socket, "TCP_INFO"):
        return None
    end = _MIN_RTT_OFFSET + 4
    try:
        info = connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, end)
    except OSError:
        return None
    return struct.unpack_from("=I", info, _MIN_RTT_OFFSET)[0] / 1e6 if len(info) == end else None


def _send(channel: paramiko.Channel, block: bytes, window_bytes: int | None) -> bool:
    """Send a block of a command's input; return False if the command or the connection has ended."""
    try:
        channel.sendall(block)
    except (OSError, EOFError):  # the latter when the whole connection is gone
        return False
    if window_bytes is not None:
        with channel.lock:  # the window is known once the server has taken something
            channel.out_window_size = min(channel.out_window_size, window_bytes)
    return True


def _send_at_once(connected: object) -> None:
    """Send small messages without waiting for the acknowledgment of earlier ones, which may take 40 ms."""
    if isinstance(connected, socket.socket):
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _credentials(device: Device) -> dict[str, Any]:
    """Return the inventory's key and password and no others; without either, the agent's and the user's own keys."""
    if device.key_file is None and device.password is None:
        return {"allow_agent": True, "look_for_keys": True}
    password = {} if device.password is None else {"password": str(device.password)}
    key = {} if device.key_file is None else {"key_filename": device.key_file}
    return {"allow_agent": False, "look_for_keys": False} | key | password


def _client(device: Device, pinned: dict[str, paramiko.PKey] | None) -> paramiko.SSHClient:
    """Return a client that knows the pinned keys and refuses every other."""
    import paramiko

    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    if pinned is None:
        client.load_system_host_keys()
    for kind, key in (pinned or {}).items():
        client.get_host_keys().add(known_hosts_name(device), kind, key)
    return client


def _pinned_keys(device: Device) -> dict[str, paramiko.PKey] | None:
    """Return the device's pinned host keys by kind; None if the user's own known_hosts counts."""
    if device.known_hosts is None:
        return None
    hosts = _host_keys(device.known_hosts, Path(device.known_hosts).stat().st_mtime_ns)
    return dict(hosts.lookup(known_hosts_name(device)) or {})


@lru_cache(maxsize=8)
def _host_keys(known_hosts: str, changed_ns: int) -> paramiko.HostKeys:
    """Return a known_hosts file, read once for all devices: parsing takes as long as a login."""
    import paramiko

    del changed_ns  # part of the cache's key: a changed file is another one
    return paramiko.HostKeys(known_hosts)


@contextmanager
def _deadline(device: Device, channel: paramiko.Channel, timeout: float | None) -> Iterator[None]:
    """Close the channel when time is up, which ends whatever waits on it."""
    if timeout is None:
        yield
        return
    expired = threading.Event()

    def expire() -> None:
        expired.set()
        channel.close()

    timer = threading.Timer(timeout, expire)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if expired.is_set():
            raise timeout_error(device, timeout)


class _Feeder(threading.Thread):
    """Sends a command's stdin while its output is received; a command that has ended needs no more."""

    def __init__(self, channel: paramiko.Channel, content: Input) -> None:
        super().__init__(daemon=True)
        self._channel, self._content = channel, content
        self._window_bytes = _window_bytes(channel.get_transport())
        self._error: Exception | None = None
        self.start()

    def run(self) -> None:
        """Send all of it, then the end."""
        content = iter_blocks(self._content)
        while (block := self._next(content)) is not None:
            if not _send(self._channel, block, self._window_bytes):
                return
        with suppress(OSError, EOFError):
            self._channel.shutdown_write()

    def _next(self, content: Iterator[bytes]) -> bytes | None:
        """Return the next block. If reading fails here, the command must not take a part for the whole."""
        try:
            return next(content, None)
        except Exception as error:  # noqa: BLE001 - raised again in the thread that waits for the command
            self._error = error
            self._channel.close()
            return None

    def raise_if_failed(self) -> None:
        """Raise what went wrong on this side, if anything did."""
        if self._error is not None:
            raise self._error


class _Reader(threading.Thread):
    """Collects a command's stderr while its stdout is received."""

    def __init__(self, channel: paramiko.Channel) -> None:
        super().__init__(daemon=True)
        self._channel = channel
        self.content = b""
        self.start()

    def run(self) -> None:
        """Read to the end."""
        self.content = b"".join(_read_all(self._channel.recv_stderr))


def _read_all(receive: Callable[[int], bytes]) -> Iterator[bytes]:
    yield from iter(lambda: receive(1 << 16), b"")
