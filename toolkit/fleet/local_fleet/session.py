"""A session on a device of the local fleet: commands by /bin/sh in its folder, and SFTP within it."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path

import asyncssh

CHUNK = 1 << 16
GRACE_S = 2.0
"""How long a command may take to end by itself once its connection is gone."""


async def run_command(process: asyncssh.SSHServerProcess[bytes], folder: Path) -> None:
    """Run one command in a process group of its own, which ends with the channel at the latest."""
    argv = ["/bin/sh", "-c", process.command] if process.command else ["/bin/sh"]
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(
        *argv, stdin=pipe, stdout=pipe, stderr=pipe, cwd=folder, env=_environment(folder), start_new_session=True
    )
    talk = asyncio.create_task(_converse(process, child))
    hung_up = asyncio.create_task(process.channel.wait_closed())
    try:
        await asyncio.wait({talk, hung_up}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        talk.cancel()
        hung_up.cancel()
        await _end(child)


async def _converse(process: asyncssh.SSHServerProcess[bytes], child: asyncio.subprocess.Process) -> None:
    """Relay its input and output, then report how it ended."""
    listening = asyncio.create_task(_listen_to(process, child))
    try:
        await asyncio.gather(_copy(child.stdout, process.stdout), _copy(child.stderr, process.stderr))
        _report(process, await child.wait())
    finally:
        listening.cancel()


async def _listen_to(process: asyncssh.SSHServerProcess[bytes], child: asyncio.subprocess.Process) -> None:
    """Relay what the client sends: bytes, signals, the end."""
    assert child.stdin is not None  # noqa: S101 - a pipe was asked for
    with suppress(OSError, asyncssh.Error):
        while (piece := await _next(process, child)) is not None:
            child.stdin.write(piece)
            await child.stdin.drain()
    child.stdin.close()


async def _next(process: asyncssh.SSHServerProcess[bytes], child: asyncio.subprocess.Process) -> bytes | None:
    """Return the next bytes, or None at the end; signals are passed to the command."""
    try:
        return await process.stdin.read(CHUNK) or None
    except asyncssh.SignalReceived as received:
        _signal_group(child.pid, signal.Signals[f"SIG{received.signal}"])
    except asyncssh.BreakReceived:
        _signal_group(child.pid, signal.SIGINT)
    return b""


async def _copy(source: asyncio.StreamReader | None, sink: asyncssh.SSHWriter[bytes]) -> None:
    """Relay the command's output until it ends or the client is gone."""
    assert source is not None  # noqa: S101 - a pipe was asked for
    with suppress(OSError, asyncssh.Error):
        while piece := await source.read(CHUNK):
            sink.write(piece)
            await sink.drain()


def _report(process: asyncssh.SSHServerProcess[bytes], code: int) -> None:
    """Report the exit code, or the signal that ended it."""
    if code >= 0:
        process.exit(code)
    else:
        process.exit_with_signal(signal.Signals(-code).name.removeprefix("SIG"))


async def _end(child: asyncio.subprocess.Process) -> None:
    """End the whole process group: by the end of its stdin, as sshd does, and SIGHUP, then by SIGKILL."""
    if child.returncode is None:
        assert child.stdin is not None  # noqa: S101 - a pipe was asked for
        child.stdin.close()  # a signal that comes just before a command waits for input does not end the waiting
        _signal_group(child.pid, signal.SIGHUP)
        with suppress(TimeoutError):
            await asyncio.wait_for(child.wait(), GRACE_S)
    _signal_group(child.pid, signal.SIGKILL)


def _signal_group(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _environment(folder: Path) -> dict[str, str]:
    """Return the environment of a login, without the toolkit's own."""
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return {"HOME": str(folder), "PATH": path, "LANG": "C.UTF-8", "SHELL": "/bin/sh", "USER": "toolkit"}


class ConfinedSftp(asyncssh.SFTPServer):
    """SFTP by the same absolute paths that commands see, within one folder; relative paths start there."""

    def __init__(self, channel: asyncssh.SSHServerChannel[bytes], folder: Path) -> None:
        super().__init__(channel)
        self._folder = folder.resolve()

    def map_path(self, path: bytes) -> bytes:
        """The path here.

        Raises:
            SFTPPermissionDenied: it leads out of the folder.
        """
        place = Path(os.path.normpath(self._folder / os.fsdecode(path)))
        if place == self._folder or (place.parent.resolve() / place.name).is_relative_to(self._folder):
            return os.fsencode(place)
        raise asyncssh.SFTPPermissionDenied("outside of this device's folder")
