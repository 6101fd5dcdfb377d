"""Shells over SSH with the program `ssh`, with one shared connection for all commands (ControlMaster).

It supports everything that OpenSSH supports: ProxyJump and ProxyCommand, agents and keys in an agent, security keys,
certificates, `@revoked` and `@cert-authority` in known_hosts, and every algorithm of the installed version. If a server
allows a single session only (MaxSessions 1), each concurrent command gets its own connection.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from toolkit.artifacts.fleet import Device
from toolkit.errors import FleetError, MachineError
from toolkit.fleet.ssh import options
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
from toolkit.fleet.ssh.ssh_errors import openssh_error

_POLL_S = 0.02
_END_S = 10.0
_LONGEST_TEMPORARY = 70
"""A socket's path has at most 108 letters."""
_ASKPASS = '#!/bin/sh\ncat "${0%/*}/password"\n'
_MULTIPLEXING = ("mux_client_", "ControlSocket ")
"""How the lines begin by which ssh says that it opens a further connection."""


class OpenSshShell:
    """A device's command line over SSH: connected when made; each command is a session of its own."""

    def __init__(self, device: Device, reason: str = "") -> None:
        self.device, self._reason = device, reason
        self._program = shutil.which(device.ssh_program) or _missing(device)
        base = tempfile.gettempdir()
        self._folder = Path(
            tempfile.mkdtemp(prefix="toolkit-ssh-", dir=base if len(base) < _LONGEST_TEMPORARY else "/tmp")  # noqa: S108
        )
        self._socket = self._folder / "control"
        self._environment = self._prepare_password()
        try:
            self._master = self._connect()
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise

    @property
    def transport(self) -> str:
        """See Shell."""
        return f"openssh: {self._reason}" if self._reason else "openssh"

    @property
    def is_open(self) -> bool:
        """See Shell."""
        return self._master.poll() is None

    def run(self, command: Command, *, stdin: Input = b"", timeout: float | None = TIMEOUT_S) -> CommandResult:
        """See Shell."""
        with self._start(remote_command(command)) as process, _deadline(self.device, process, timeout):
            errors, feeder = _Reader(process), _Feeder(process, stdin)
            assert process.stdout is not None  # noqa: S101 - a pipe was asked for
            output = process.stdout.read()
            code = process.wait()
            errors.join()
            feeder.finish()
        return CommandResult(
            decode(after_begin(output)), self._errors_of(errors.content, code), -1 if code == 255 else code
        )

    def put(self, content: bytes | Path, remote: str, *, timeout: float | None = TIMEOUT_S) -> None:
        """See Shell."""
        self.run(put_script(remote), stdin=iter_blocks(content), timeout=timeout).check(
            self.device, f"writing {remote}"
        )

    @contextmanager
    def background(self, command: Command, *, timeout: float | None = TIMEOUT_S) -> Iterator[str]:
        """See Shell."""
        with self._start(remote_command(command), stderr=subprocess.DEVNULL) as process:
            assert process.stdout is not None  # noqa: S101 - a pipe was asked for
            with _deadline(self.device, process, timeout):
                skip_to_begin(process.stdout)
                line = process.stdout.readline()
                self._raise_if_lost()
            try:
                yield decode(line).strip()
            finally:
                assert process.stdin is not None  # noqa: S101 - a pipe was asked for
                with suppress(OSError):
                    process.stdin.close()
                with suppress(FleetError), _deadline(self.device, process, _END_S if timeout is None else timeout):
                    process.wait()

    def follow(self, command: Command, on_line: Callable[[str], None]) -> None:
        """See Shell."""
        with self._start(remote_command(command), stderr=subprocess.DEVNULL) as process:
            assert process.stdout is not None  # noqa: S101 - a pipe was asked for
            skip_to_begin(process.stdout)
            for line in process.stdout:
                on_line(decode(line).rstrip("\n"))
        self._raise_if_lost()

    @contextmanager
    def converse(self, command: Command) -> Iterator[Ask]:
        """See Shell."""
        with self._start(remote_command(command)) as process:
            assert process.stdin is not None  # noqa: S101 - pipes were asked for
            assert process.stdout is not None  # noqa: S101 - see above
            requests, answers, errors = process.stdin, process.stdout, _Reader(process)
            skip_to_begin(answers)

            def ask(request: Input, timeout: float) -> str:
                with _deadline(self.device, process, timeout):
                    with suppress(BrokenPipeError):  # a command that has ended gives no answer
                        requests.writelines(request_blocks(request))
                        requests.flush()
                    answer = answers.readline()
                if not answer:
                    self._raise_if_lost()
                    errors.join(GRACE_S)
                    raise ended_early(self.device, decode(errors.content))
                return decode(answer)

            try:
                yield ask
            finally:
                with suppress(OSError):
                    requests.close()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(GRACE_S)
                process.kill()

    def dial(self, port: int) -> socket.socket:
        """See Shell."""
        near, far = socket.socketpair()
        with far:
            argv = [*self._argv(), "-W", f"127.0.0.1:{port}", "--", self.device.host]
            subprocess.Popen(
                argv, stdin=far.fileno(), stdout=far.fileno(), stderr=subprocess.DEVNULL, env=self._environment
            )
        return near

    def close(self) -> None:
        """See Shell."""
        if self._master.poll() is None:
            self._master.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._master.wait(_END_S)
        if self._master.stderr is not None:
            self._master.stderr.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _connect(self) -> subprocess.Popen[bytes]:
        """Start the shared connection and wait until it is usable."""
        argv = [*self._argv(), "-M", "-N", "--", self.device.host]
        master = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=self._environment
        )
        deadline = time.monotonic() + self.device.connect_timeout_s + _END_S
        while not self._socket.exists():
            if master.poll() is not None or time.monotonic() > deadline:
                master.kill()
                _, errors = master.communicate()
                raise openssh_error(self.device, decode(errors))
            time.sleep(_POLL_S)
        return master

    def _argv(self) -> list[str]:
        return [self._program, "-S", str(self._socket), *options.openssh_options(self.device)]

    def _start(self, command: str, stderr: int = subprocess.PIPE) -> subprocess.Popen[bytes]:
        self._raise_if_lost()
        argv = [*self._argv(), "-T", "--", self.device.host, command]
        pipe = subprocess.PIPE
        return subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=stderr, env=self._environment)

    def _prepare_password(self) -> dict[str, str]:
        """Let ssh ask for the password by its own prompt: a private file answers, so that no argument shows it."""
        environment = dict(os.environ)
        if self.device.password is None:
            return environment
        (self._folder / "password").touch(0o600)
        (self._folder / "password").write_text(f"{self.device.password}\n", encoding="utf-8")
        (self._folder / "askpass").write_text(_ASKPASS)
        (self._folder / "askpass").chmod(0o700)
        prompt = {"SSH_ASKPASS": str(self._folder / "askpass"), "SSH_ASKPASS_REQUIRE": "force"}
        return environment | prompt | {"DISPLAY": environment.get("DISPLAY", ":0")}

    def _errors_of(self, content: bytes, code: int) -> str:
        """Return a command's stderr, without what ssh itself says about sharing the connection.

        Raises:
            FleetError: the connection was lost.
        """
        if code == 255:
            self._raise_if_lost()
        lines = decode(content).splitlines(keepends=True)
        return "".join(line for line in lines if not line.startswith(_MULTIPLEXING))

    def _raise_if_lost(self) -> None:
        if self._master.poll() is not None:
            raise lost_error(self.device)


def _missing(device: Device) -> str:
    remedy = "apt-get install openssh-client" if device.ssh_program == "ssh" else "check ansible_ssh_executable"
    raise MachineError(f"the program {device.ssh_program} is not installed", where=device.name, remedy=remedy)


@contextmanager
def _deadline(device: Device, process: subprocess.Popen[bytes], timeout: float | None) -> Iterator[None]:
    """Kill the process when time is up."""
    expired = threading.Event()

    def expire() -> None:
        expired.set()
        process.kill()

    timer = threading.Timer(timeout or 0, expire)
    timer.daemon = True
    if timeout is not None:
        timer.start()
    try:
        yield
    except FleetError:
        if not expired.is_set():
            raise
    finally:
        timer.cancel()
        if expired.is_set():
            raise timeout_error(device, timeout)


class _Feeder(threading.Thread):
    """Writes a command's stdin while its output is read; a command that has ended needs no more."""

    def __init__(self, process: subprocess.Popen[bytes], content: Input) -> None:
        super().__init__(daemon=True)
        self._process, self._content = process, content
        self._error: Exception | None = None
        self.start()

    def run(self) -> None:
        """Write all of it, then close."""
        stream = self._process.stdin
        assert stream is not None  # noqa: S101 - a pipe was asked for
        try:
            for block in iter_blocks(self._content):
                with suppress(OSError):
                    stream.write(block)
                    stream.flush()
                    continue
                break
        except Exception as error:  # noqa: BLE001 - raised again in the thread that waits for the command
            self._error = error
            self._process.kill()
        with suppress(OSError):
            stream.close()

    def finish(self) -> None:
        """Raise what reading the content raised, if anything."""
        self.join()
        if self._error is not None:
            raise self._error


class _Reader(threading.Thread):
    """Collects a command's stderr while its stdout is read."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        super().__init__(daemon=True)
        self._process, self.content = process, b""
        self.start()

    def run(self) -> None:
        """Read to the end."""
        if self._process.stderr is not None:
            self.content = self._process.stderr.read()
