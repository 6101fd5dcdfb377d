"""Ends a command and its workers by SIGKILL when it is about to change a file for the KILL_AT-th time.

Python imports this in every process that has this folder in PYTHONPATH. KILL_LOG counts the changes of all of them, by its
size; KILL_PATHS is a pattern of the paths that count. A while of up to 20 ms passes first, so that also writes are cut.
"""

from __future__ import annotations

import os
import random
import re
import signal
import sys
import threading

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate"}


def _end(group: int) -> None:
    os.killpg(group, signal.SIGKILL)
    os.killpg(0, signal.SIGKILL)


def _install(log: str, pattern: re.Pattern[str], at: int) -> None:
    group = int(os.environ.setdefault("KILL_GROUP", str(os.getpgid(0))))
    counter = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def count(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open":
            if not isinstance(arguments[2], int) or not arguments[2] & _WRITING:
                return
        elif event not in _CHANGES:
            return
        if isinstance(arguments[0], (str, os.PathLike)) and pattern.search(os.fspath(arguments[0])):
            os.write(counter, b".")
            if os.fstat(counter).st_size == at:
                threading.Timer(random.uniform(0, 0.02), _end, (group,)).start()

    sys.addaudithook(count)


if "KILL_LOG" in os.environ:
    _install(os.environ["KILL_LOG"], re.compile(os.environ["KILL_PATHS"]), int(os.environ.get("KILL_AT", "0")))
