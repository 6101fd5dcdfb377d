"""Confined worker processes for every parser of untrusted files.

    with Sandbox(reads=[path], limits=Limits(memory_bytes=8 << 30, seconds=300)) as sandbox:
        header = sandbox.call("toolkit.convert.imported.onnx_file:read", path=path)
        for row in sandbox.stream("toolkit.data.validation:read_all", paths=paths):
            ...

A worker is a fresh interpreter without network, environment or other processes. It can read the toolkit, its libraries
and `reads`, and write to `writes` and a temporary folder of its own. Arguments and results are plain values, bytes and
number arrays (`wire`). The functions run there raise ToolkitErrors as usual; anything else becomes a SandboxError.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from toolkit import errors
from toolkit.errors import MachineError, Problem, ToolkitError
from toolkit.system.sandbox import wire

UNCONFINED = "TOOLKIT_UNCONFINED"
"""The environment variable that, set to 1, allows workers on machines that cannot confine them."""

_SYSTEM_PATHS = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime"),
    *("/sys/devices/system/cpu", "/sys/devices/system/node"),
)
_PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "TZ", "OMP_NUM_THREADS", "TF_CPP_MIN_LOG_LEVEL", "TF_ENABLE_ONEDNN_OPTS")
_STDERR_BYTES = 4096
_PACKAGE = Path(__file__).resolve().parents[2]


class SandboxError(ToolkitError):
    """A parser failed, crashed or exceeded a limit in its confined worker."""


@dataclass(frozen=True, slots=True)
class ResourceLimits:
    """What a worker may use: address space, the size of each file it writes, and time per call (CPU time in total)."""

    memory_bytes: int = 8 << 30
    file_bytes: int = 4 << 30
    seconds: float = 600
    cpu_seconds: int = 24 * 3600


@dataclass(frozen=True, slots=True)
class Layers:
    """Which layers of confinement hold; `landlock` is its ABI version, 0 without it."""

    namespaces: bool
    landlock: int
    seccomp: bool

    @property
    def sufficient(self) -> bool:
        """Whether both other files and the network are out of reach."""
        return self.namespaces or (self.landlock > 0 and self.seccomp)

    def __str__(self) -> str:
        names = {
            "namespaces": self.namespaces,
            f"Landlock (ABI {self.landlock})": self.landlock > 0,
            "seccomp": self.seccomp,
        }
        return ", ".join([*(name for name, holds in names.items() if holds), "resource limits"])


class Sandbox:
    """One confined worker, for one call or many.

    Args:
        reads: Files and folders that the worker may read.
        writes: Folders that it may write to.
        limits: What it may use.
        where: The file or folder to name in errors; by default the first of `reads`.
        namespaces: Whether to use them where the kernel allows; without, Landlock and seccomp confine the worker.
    """

    def __init__(
        self,
        reads: Iterable[Path] = (),
        writes: Iterable[Path] = (),
        limits: ResourceLimits | None = None,
        where: str | None = None,
        *,
        namespaces: bool = True,
    ) -> None:
        self._namespaces = namespaces
        self._reads, self._writes = [*reads], [*writes]
        self._limits = limits or ResourceLimits()
        self._where = where if where is not None else str(next(iter(self._reads), ""))
        self._stack = contextlib.ExitStack()
        self._result: Any = None

    def start(self) -> Self:
        """Start the worker; `close` stops it.

        Raises:
            MachineError: this machine cannot confine it.
        """
        with contextlib.ExitStack() as stack:
            self._channel, theirs = socket.socketpair()
            stack.callback(self._channel.close)
            folder = tempfile.TemporaryDirectory(prefix="toolkit-", ignore_cleanup_errors=True)
            scratch = Path(stack.enter_context(folder))
            self._stderr = stack.enter_context(tempfile.TemporaryFile())
            with theirs:
                self._process = _start(theirs, scratch, self._stderr)
            stack.callback(self._stop)
            self._send_setup(scratch)
            self.layers = self._receive_layers()
            self._stack = stack.pop_all()
        return self

    def close(self) -> None:
        """Kill the worker at once."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def call(self, function: str, **arguments: object) -> Any:
        """The result of `MODULE:FUNCTION` in the worker.

        Raises:
            ToolkitError: the function's own.
            SandboxError: any other exception, a crash, or a limit exceeded.
        """
        for _ in self._run(function, arguments, items=False):
            pass
        return self._result

    def stream(self, function: str, **arguments: object) -> Iterator[Any]:
        """The items of a generator function, as they come; the time limit holds for each. Raises what `call` raises."""
        yield from self._run(function, arguments, items=True)

    def _run(self, function: str, arguments: Mapping[str, object], *, items: bool) -> Iterator[Any]:
        self._result = None
        try:
            wire.send(self._channel, {"function": function, "arguments": dict(arguments)})
            while True:
                reply = wire.receive(self._channel, time.monotonic() + self._limits.seconds)
                if "item" not in reply:
                    self._result = self._outcome(reply)
                    return
                if items:
                    yield reply["item"]
        except TimeoutError:
            self._process.kill()
            raise self._error(f"reading takes longer than the limit of {self._limits.seconds:g} s") from None
        except (OSError, wire.WireError) as error:
            raise self._crash(error) from None

    def _outcome(self, reply: Mapping[str, Any]) -> Any:
        if "error" in reply:
            kind = getattr(errors, str(reply["error"]), ToolkitError)
            problems = [Problem(str(one["what"]), str(one["where"]), str(one["remedy"])) for one in reply["problems"]]
            raise kind.from_problems(problems)
        if "memory" in reply:
            raise self._error(
                f"reading needs more memory than the limit of {self._limits.memory_bytes / 2**30:.1f} GiB"
            )
        if "exception" in reply:
            raise self._error(f"cannot be read: {reply['exception']}: {reply['message']}")
        return reply["result"]

    def _crash(self, error: Exception) -> SandboxError:
        """What ended the worker."""
        self._channel.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        code = self._process.returncode
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            hint = "; the memory or CPU limit may be exceeded" if -code in {signal.SIGKILL, signal.SIGXCPU} else ""
            return self._error(f"the process that read it was killed by {name}{hint}{self._last_line()}")
        return self._error(f"the process that read it ended unexpectedly ({error}){self._last_line()}")

    def _error(self, what: str) -> SandboxError:
        return SandboxError(what, where=self._where, remedy="check where the file comes from, and get a new copy")

    def _last_line(self) -> str:
        self._stderr.seek(max(0, self._stderr.seek(0, os.SEEK_END) - _STDERR_BYTES))
        lines = self._stderr.read().decode(errors="replace").split("\n")
        printable = ["".join(filter(str.isprintable, line)).strip() for line in lines]
        return next((f": {line[:300]}" for line in reversed(printable) if line), "")

    def _send_setup(self, scratch: Path) -> None:
        readable = [*map(Path, _SYSTEM_PATHS), *_interpreter_paths(), *(path.absolute() for path in self._reads)]
        setup = {
            "path": sys.path,
            "readable": sorted({path for one in readable for path in (str(one), os.path.realpath(one))}),
            "writable": [os.path.realpath(path) for path in (*self._writes, scratch / "tmp")],
            "root": str(scratch / "root") if self._namespaces else "",
            "memory_bytes": self._limits.memory_bytes,
            "file_bytes": self._limits.file_bytes,
            "cpu_seconds": self._limits.cpu_seconds,
        }
        content = json.dumps(setup).encode()
        self._channel.sendall(struct.pack(">Q", len(content)) + content)

    def _receive_layers(self) -> Layers:
        try:
            layers = Layers(**wire.receive(self._channel, time.monotonic() + 60))
        except (OSError, wire.WireError, TypeError) as error:
            raise MachineError(f"cannot start a confined process: {self._crash(error)}") from None
        if not layers.sufficient and os.environ.get(UNCONFINED) != "1":
            raise MachineError(
                f"this machine cannot confine the process that reads files from outside; it has only {layers}",
                where=self._where,
                remedy="allow unprivileged user namespaces, use a kernel with Landlock (5.13 or later), or set "
                f"{UNCONFINED}=1 if you trust the file",
            )
        return layers

    def _stop(self) -> None:
        self._channel.close()
        self._process.kill()
        self._process.wait()


def confinement() -> Layers:
    """The layers that hold on this machine, tried with a worker.

    Raises:
        MachineError: they do not suffice.
    """
    with Sandbox(where="sandbox") as sandbox:
        return sandbox.layers


def _start(channel: socket.socket, scratch: Path, stderr: IO[bytes]) -> subprocess.Popen[bytes]:
    for name in ("root", "tmp"):
        (scratch / name).mkdir()
    passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    temporary = str(scratch.resolve() / "tmp")
    environment = {"LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1", "HOME": temporary, "TMPDIR": temporary}
    return subprocess.Popen(
        [sys.executable, "-I", str(_PACKAGE / "system" / "sandbox" / "worker.py"), str(channel.fileno())],
        stdin=subprocess.DEVNULL,
        stdout=stderr,
        stderr=stderr,
        env=passed | environment,
        cwd="/",
        pass_fds=[channel.fileno()],
        start_new_session=True,
    )


def _interpreter_paths() -> Iterator[Path]:
    """The interpreter, its libraries, and the toolkit; never a folder that merely was the current one."""
    yield from (Path(sys.prefix), Path(sys.base_prefix), _PACKAGE)
    for entry in map(Path, sys.path):
        if entry.is_file() or entry.name.endswith("-packages") or any(entry.glob("*.dist-info")):
            yield entry
