"""Worker process for several runs: each run is a fork with all imports done, so that it starts at once.

Requests are JSON lists of arguments on stdin, one per line; each answer is a line of JSON on stdout. Forks isolate
runs: a run has its own memory, and a crash is reported without affecting others. When stdin ends, the current run is
interrupted.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
from contextlib import suppress
from typing import Callable, Iterator, List, TextIO

CHUNK = 1 << 16


def serve(run: Callable[[List[str]], int], stdout: TextIO) -> int:
    """Answer requests until stdin ends; `run` performs one, prints its answer and returns its exit code."""
    _preload()
    requests = _Requests()
    for request in requests:
        ended, alive = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(ended)
            os._exit(_perform(run, request, stdout))
        os.close(alive)
        interrupted = not requests.wait_for(ended)
        os.close(ended)
        if interrupted:
            os.kill(child, signal.SIGINT)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            _report_crash(os.WTERMSIG(status), stdout)
    return 0


def _preload() -> None:
    """Import the packages that every run needs; the run itself reports a missing one."""
    for name in ("numpy", "cv2", "openvino"):
        with suppress(Exception):
            importlib.import_module(name)


def _perform(run: Callable[[List[str]], int], request: List[str], stdout: TextIO) -> int:
    try:
        return run(request)
    except BaseException as error:  # noqa: BLE001 - a fork must never return into its parent's loop
        fault = {"what": f"{type(error).__name__}: {error}", "where": "", "remedy": ""}
        print(json.dumps({"ok": False, "error": fault}), file=stdout, flush=True)
        return 1


def _report_crash(number: int, stdout: TextIO) -> None:
    remedy = "see the device's kernel log; signal 9 often means that its memory ran out"
    fault = {"what": f"the run was ended by signal {number}", "where": "", "remedy": remedy}
    print(json.dumps({"ok": False, "error": fault}), file=stdout, flush=True)


class _Requests:
    """Lines of stdin; reads during a run too, so that the end of stdin is noticed at once."""

    def __init__(self) -> None:
        self._received = b""
        self._open = True

    def __iter__(self) -> Iterator[List[str]]:
        while self._open or b"\n" in self._received:
            line, newline, rest = self._received.partition(b"\n")
            if newline:
                self._received = rest
                yield json.loads(line)
            else:
                self._read()

    def wait_for(self, ended: int) -> bool:
        """Return True once the other end of the pipe `ended` is closed, False if stdin ends first."""
        while self._open:
            ready, _, _ = select.select([0, ended], [], [])
            if ended in ready:
                return True
            self._read()
        return False

    def _read(self) -> None:
        chunk = os.read(0, CHUNK)
        self._open = bool(chunk)
        self._received += chunk
