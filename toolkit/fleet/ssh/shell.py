"""The interface for running commands on a device; rollouts and benchmarks use it without depending on SSH.

Shell            the interface
LocalShell       this machine, in a folder: for local runs, tests and `ansible_connection: local`
SshShell         over SSH by fabric (toolkit.fleet.ssh.connection)
OpenSshShell     over SSH by the program `ssh` (toolkit.fleet.ssh.openssh)
"""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from toolkit.artifacts.fleet import Device
from toolkit.errors import FleetError

Command = Sequence[str] | str
"""An argument vector, or the text of a POSIX shell script."""
Input = bytes | Iterable[bytes]
"""What a command reads from stdin: all at once, or block by block."""

Ask = Callable[[Input, float], str]
"""Sends a line, or blocks as they are, and returns the line of the answer, within a number of seconds."""

TIMEOUT_S = 120.0
GRACE_S = 5.0
"""How long a command may take to end once its input has ended."""
BLOCK_BYTES = 2 * (32 * 1024 - 64)
"""As many as fill two packets of SSH, as fabric makes them (RFC 4253, section 6.1)."""
BEGIN = "toolkit-output-begins"
"""The line after which a remote command's own output begins; a login shell's start-up files may print before it."""


@dataclass(frozen=True, slots=True)
class CommandResult:
    """A command's output. `code` is its exit code, or -1 if a signal ended it."""

    stdout: str
    stderr: str
    code: int

    def check(self, device: Device, doing: str, remedy: str = "") -> CommandResult:
        """Return the result itself if the command succeeded.

        Raises:
            FleetError: it did not; names the device, the step and the last lines of its output.
        """
        if self.code == 0:
            return self
        lines = (self.stderr.strip() or self.stdout.strip()).splitlines()[-3:]
        why = "; ".join(lines) or "it printed no reason"
        raise FleetError(f"{doing} failed (exit code {self.code}): {why}", where=device.name, remedy=remedy)


class Stream(Protocol):
    """One end of a connection, such as a socket."""

    def recv(self, size: int, /) -> bytes:
        """Return what arrives, at most `size` bytes; empty at the end."""

    def sendall(self, data: bytes, /) -> None:
        """Send all of it."""

    def shutdown(self, how: int, /) -> None:
        """End one or both directions."""

    def close(self) -> None:
        """Close it."""


class Shell(Protocol):
    """One device's command line. Not for several threads at once.

    Every method raises FleetError when the device cannot be reached, the connection is lost, or time is up.
    """

    device: Device

    @property
    def transport(self) -> str:
        """How the device is reached, and why that way, for `toolkit fleet probe`."""

    @property
    def is_open(self) -> bool:
        """Whether the connection is open, as far as this side knows."""

    def run(self, command: Command, *, stdin: Input = b"", timeout: float | None = TIMEOUT_S) -> CommandResult:
        """Run a command to its end; `timeout` in seconds, None for no limit."""

    def put(self, content: bytes | Path, remote: str, *, timeout: float | None = TIMEOUT_S) -> None:
        """Write a file atomically: beside its name first, then renamed."""

    def background(self, command: Command, *, timeout: float | None = TIMEOUT_S) -> AbstractContextManager[str]:
        """Keep a command running for the length of a with-block, which gets the first line of its output.

        At the end of the block its stdin is closed and its end waited for. A command that reads stdin to its end thus
        notices when the controller is gone, for whatever reason.
        """

    def follow(self, command: Command, on_line: Callable[[str], None]) -> None:
        """Run a command until it ends or the shell is closed, and pass on each line; its stdin stays open meanwhile."""

    def converse(self, command: Command) -> AbstractContextManager[Ask]:
        """Start a command that answers each line of its input by one line, for the length of a with-block."""

    def dial(self, port: int) -> Stream:
        """Connect to a port of the device's loopback interface."""

    def close(self) -> None:
        """Close the connection; commands that run through it end."""


def script_of(command: Command) -> str:
    """Return the command as text for a shell."""
    return command if isinstance(command, str) else shlex.join(command)


def remote_command(command: Command) -> str:
    """Return a command line that any login shell passes to /bin/sh unchanged.

    The script is written in octal escapes, because csh and fish read quotes, line ends and `!` in their own way. It prints
    BEGIN before the command starts.
    """
    argv = ["/bin/sh", "-c", command] if isinstance(command, str) else command
    script = f"echo {BEGIN}; exec {shlex.join(argv)}"
    escaped = "".join(map(_escape, script))
    return f"""exec /bin/sh -c 'eval "$(printf "{escaped}")"'"""


def _escape(letter: str) -> str:
    if letter.isascii() and (letter.isalnum() or letter in " _-./:=,@+"):
        return letter
    return "".join(f"\\{byte:03o}" for byte in letter.encode(errors="surrogateescape"))


def after_begin(output: bytes) -> bytes:
    """Return what a command itself printed, without the output of the login shell's start-up files."""
    _, begin, rest = output.partition(f"{BEGIN}\n".encode())
    return rest if begin else output


def skip_to_begin(lines: Iterable[bytes]) -> None:
    """Read past the line BEGIN."""
    for line in lines:
        if line.endswith(f"{BEGIN}\n".encode()):
            return


def put_script(remote: str) -> str:
    """Return a script that writes stdin to a file atomically."""
    part, final = shlex.quote(remote + ".part"), shlex.quote(remote)
    return f"cat > {part} && mv -f {part} {final}"


def request_blocks(request: Input) -> Iterable[bytes]:
    """Return the blocks of a request: bytes are a line, and get its end."""
    return (request + b"\n",) if isinstance(request, bytes) else request


def iter_blocks(content: Input | Path) -> Iterator[bytes]:
    """Yield the content in blocks."""
    if isinstance(content, Path):
        with content.open("rb") as stream:
            yield from iter(lambda: stream.read(BLOCK_BYTES), b"")
    elif isinstance(content, bytes):
        yield from (content[start : start + BLOCK_BYTES] for start in range(0, len(content), BLOCK_BYTES))
    else:
        yield from content


class LocalShell:
    """This machine as a device. Commands start in the device's root."""

    transport = "local"
    is_open = True

    def __init__(self, device: Device) -> None:
        self.device = device

    def run(self, command: Command, *, stdin: Input = b"", timeout: float | None = TIMEOUT_S) -> CommandResult:
        """See Shell."""
        with self._start(command, stderr=subprocess.PIPE) as process:
            try:
                output, errors = process.communicate(b"".join(iter_blocks(stdin)), timeout)
            except subprocess.TimeoutExpired:
                raise timeout_error(self.device, timeout) from None
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        return CommandResult(decode(output), decode(errors), max(process.returncode, -1))

    def put(self, content: bytes | Path, remote: str, *, timeout: float | None = TIMEOUT_S) -> None:
        """See Shell."""
        self.run(put_script(remote), stdin=iter_blocks(content), timeout=timeout).check(
            self.device, f"writing {remote}"
        )

    @contextmanager
    def background(self, command: Command, *, timeout: float | None = TIMEOUT_S) -> Iterator[str]:
        """See Shell; a local command is trusted to answer."""
        del timeout
        with self._start(command, stderr=None) as process:
            assert process.stdout is not None  # noqa: S101 - a pipe was asked for
            yield decode(process.stdout.readline()).strip()

    def follow(self, command: Command, on_line: Callable[[str], None]) -> None:
        """See Shell."""
        with self._start(command, stderr=None) as process:
            assert process.stdout is not None  # noqa: S101 - a pipe was asked for
            for line in process.stdout:
                on_line(decode(line).rstrip("\n"))

    @contextmanager
    def converse(self, command: Command) -> Iterator[Ask]:
        """See Shell; a local command is trusted to answer in time."""
        with tempfile.TemporaryFile() as errors, self._start(command, stderr=errors.fileno()) as process:
            assert process.stdin is not None  # noqa: S101 - pipes were asked for
            assert process.stdout is not None  # noqa: S101 - see above
            requests, answers = process.stdin, process.stdout

            def ask(request: Input, timeout: float) -> str:
                del timeout
                with suppress(BrokenPipeError):  # a command that has ended gives no answer
                    requests.writelines(request_blocks(request))
                    requests.flush()
                if answer := answers.readline():
                    return decode(answer)
                errors.seek(0)
                raise ended_early(self.device, decode(errors.read()))

            try:
                yield ask
            finally:
                with suppress(BrokenPipeError):
                    requests.close()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(GRACE_S)
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)

    def dial(self, port: int) -> socket.socket:
        """See Shell."""
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
        except OSError as error:
            raise FleetError(f"port {port}: {error.strerror}", where=self.device.name) from None

    def close(self) -> None:
        """See Shell; nothing stays open."""

    def _start(self, command: Command, *, stderr: int | None) -> subprocess.Popen[bytes]:
        """Start it in a process group of its own, in the device's root if that exists."""
        return subprocess.Popen(
            ["/bin/sh", "-c", script_of(command)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            cwd=self.device.root if Path(self.device.root).is_dir() else "/",
            start_new_session=True,
        )


def decode(output: bytes) -> str:
    """Return a command's output as text, whatever its encoding."""
    return output.decode(errors="replace")


def ended_early(device: Device, errors: str) -> FleetError:
    """Return the error of a command that ended instead of answering; `errors` is its stderr."""
    why = "; ".join(errors.strip().splitlines()[-3:]) or "it printed no reason"
    return FleetError(f"the command ended instead of answering: {why}", where=device.name)


def timeout_error(device: Device, timeout: float | None) -> FleetError:
    """Return the error of a command that took longer than its time limit."""
    return FleetError(
        f"no answer within {timeout:g} s",
        where=device.name,
        remedy="check whether the device is overloaded or hangs, then run the command again",
    )


def lost_error(device: Device) -> FleetError:
    """Return the error of a connection that ended before its command."""
    return FleetError(
        "the connection was lost", where=device.name, remedy="run the command again; it continues where it stopped"
    )
