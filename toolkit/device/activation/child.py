"""Child processes of an activation: they are ended with it, and when the connection to the controller is lost."""

from __future__ import annotations

import os
import subprocess
import threading
from typing import Optional, Sequence, Set

from ..errors import DeviceError


class Children:
    """Starts child processes, and ends them on request from another thread."""

    def __init__(self) -> None:
        self._running: Set[subprocess.Popen[str]] = set()
        self._lock = threading.RLock()  # a signal may come while the same thread holds it
        self.stopped = threading.Event()

    def stop(self) -> None:
        """End all children; no further one starts."""
        with self._lock:
            self.stopped.set()
            for process in self._running:
                process.kill()

    def check(self) -> None:
        """Check that `stop` was not called.

        Raises:
            DeviceError: it was.
        """
        if self.stopped.is_set():
            raise DeviceError("the connection to the controller was lost", remedy="run the command again")

    def run(
        self, argv: Sequence[str], *, cwd: Optional[str] = None, timeout_s: float, stdin: Optional[bytes] = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end; without `stdin`, its stdin ends only when this process does.

        Raises:
            DeviceError: it took too long, or `stop` was called.
            OSError: it could not be started.
        """
        reader, writer = os.pipe()
        try:
            process = self._start(argv, cwd, reader)
            if stdin is not None:
                os.write(writer, stdin)
                os.close(writer)
                writer = -1
            output, errors = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise DeviceError(f"did not end within {timeout_s:g} s", where=argv[0]) from None
        finally:
            os.close(reader)
            if writer >= 0:
                os.close(writer)
        with self._lock:
            self._running.discard(process)
        self.check()
        return subprocess.CompletedProcess(list(argv), process.returncode, output, errors)

    def _start(self, argv: Sequence[str], cwd: Optional[str], stdin: int) -> "subprocess.Popen[str]":
        with self._lock:
            self.check()
            process = subprocess.Popen(
                list(argv),
                cwd=cwd,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
            )
            self._running.add(process)
        return process
