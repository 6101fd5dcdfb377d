"""A way to run commands on a device. Deploy and bench see this, not SSH.

Shell           the interface
LocalShell      the same on this machine, in a folder: for trials, tests and `bench --local`
SecureShell     over SSH, in toolkit.fleet.ssh.connection
"""

from __future__ import annotations

import os
import shlex
import signal
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
"""Words, or the text of a POSIX shell script."""
Input = bytes | Iterable[bytes]
"""What a command reads: one piece, or many as they come."""

Ask = Callable[[bytes, float], str]
"""Sends a line and returns the line that answers it, within so many seconds."""

TIMEOUT_S = 120.0
GRACE_S = 5.0
"""How long a command may take to end once its input has ended."""
BLOCK_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Result:
    """What a command said. `code` is its exit code, or -1 if a signal ended it."""

    stdout: str
    stderr: str
    code: int

    def check(self, device: Device, doing: str, remedy: str = "") -> Result:
        """Itself, if the command succeeded.

        Raises:
            FleetError: it did not; names the device, what was being done and the last thing it said.
        """
        if self.code == 0:
            return self
        said = (self.stderr.strip() or self.stdout.strip()).splitlines()[-3:]
        why = "; ".join(said) or "it gave no reason"
        raise FleetError(f"{doing} failed (exit code {self.code}): {why}", where=device.name, remedy=remedy)


class Shell(Protocol):
    """One device's command line. Not for several threads at once.

    Every method raises FleetError when the device cannot be reached (any more) or takes longer than it may.
    """

    device: Device

    def run(self, command: Command, *, stdin: Input = b"", timeout: float | None = TIMEOUT_S) -> Result:
        """Run it to its end; `timeout` in seconds, None for no limit."""

    def put(self, content: bytes | Path, remote: str, *, timeout: float | None = TIMEOUT_S) -> None:
        """Write a file: beside its name first, then renamed, so that it is there whole or not at all."""

    def background(self, command: Command, *, timeout: float | None = TIMEOUT_S) -> AbstractContextManager[str]:
        """Keep a command running for the length of a with-block, which is given the first line that it prints.

        At the end of the block its stdin is closed and its end waited for. A command that waits on stdin thus learns
        when the controller is gone, however it went.
        """

    def follow(self, command: Command, tell: Callable[[str], None]) -> None:
        """Run it until it ends or the shell is closed, and hand on each line as it comes; its stdin stays open so long."""

    def converse(self, command: Command) -> AbstractContextManager[Ask]:
        """Start a command that answers each line of its input by one line, for the length of a with-block."""

    def close(self) -> None:
        """End it; whatever runs through it ends with it."""


def script_of(command: Command) -> str:
    """The command as a shell reads it."""
    return command if isinstance(command, str) else shlex.join(command)


def put_script(remote: str) -> str:
    """Takes a file's content on stdin and puts it there whole."""
    part, final = shlex.quote(remote + ".part"), shlex.quote(remote)
    return f"cat > {part} && mv -f {part} {final}"


def iter_blocks(content: Input | Path) -> Iterator[bytes]:
    """The content in pieces that fit through a connection one after the other."""
    if isinstance(content, Path):
        with content.open("rb") as stream:
            yield from iter(lambda: stream.read(BLOCK_BYTES), b"")
    elif isinstance(content, bytes):
        yield from (content[start : start + BLOCK_BYTES] for start in range(0, len(content), BLOCK_BYTES))
    else:
        yield from content


class LocalShell:
    """A device that is a folder of this machine: same interface, no network. Commands start in the device's root."""

    def __init__(self, device: Device) -> None:
        self.device = device

    def run(self, command: Command, *, stdin: Input = b"", timeout: float | None = TIMEOUT_S) -> Result:
        """See Shell."""
        with self._start(command, stderr=subprocess.PIPE) as process:
            try:
                output, errors = process.communicate(b"".join(iter_blocks(stdin)), timeout)
            except subprocess.TimeoutExpired:
                raise timeout_error(self.device, timeout) from None
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        return Result(decode(output), decode(errors), max(process.returncode, -1))

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

    def follow(self, command: Command, tell: Callable[[str], None]) -> None:
        """See Shell."""
        with self._start(command, stderr=None) as process:
            assert process.stdout is not None  # noqa: S101 - a pipe was asked for
            for line in process.stdout:
                tell(decode(line).rstrip("\n"))

    @contextmanager
    def converse(self, command: Command) -> Iterator[Ask]:
        """See Shell; a local command is trusted to answer in time."""
        with tempfile.TemporaryFile() as errors, self._start(command, stderr=errors.fileno()) as process:
            assert process.stdin is not None  # noqa: S101 - pipes were asked for
            assert process.stdout is not None  # noqa: S101 - see above
            talk, answers = process.stdin, process.stdout

            def ask(line: bytes, timeout: float) -> str:
                del timeout
                with suppress(BrokenPipeError):  # its end is seen by what it answers: nothing
                    talk.write(line + b"\n")
                    talk.flush()
                if answer := answers.readline():
                    return decode(answer)
                errors.seek(0)
                raise ended_early(self.device, decode(errors.read()))

            try:
                yield ask
            finally:
                with suppress(BrokenPipeError):
                    talk.close()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(GRACE_S)
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)

    def close(self) -> None:
        """Nothing stays open."""

    def _start(self, command: Command, *, stderr: int | None) -> subprocess.Popen[bytes]:
        """In a process group of its own, in the device's root if that is there."""
        return subprocess.Popen(
            ["/bin/sh", "-c", script_of(command)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            cwd=self.device.root if Path(self.device.root).is_dir() else "/",
            start_new_session=True,
        )


def decode(said: bytes) -> str:
    """What a command wrote, whatever its encoding."""
    return said.decode(errors="replace")


def ended_early(device: Device, errors: str) -> FleetError:
    """The error that a command ended instead of answering; `errors` is its stderr."""
    why = "; ".join(errors.strip().splitlines()[-3:]) or "it gave no reason"
    return FleetError(f"the command ended instead of answering: {why}", where=device.name)


def timeout_error(device: Device, timeout: float | None) -> FleetError:
    """The command took longer than it may."""
    return FleetError(
        f"no answer within {timeout:g} s",
        where=device.name,
        remedy="see whether the device is overloaded or hangs, then run the command again",
    )
