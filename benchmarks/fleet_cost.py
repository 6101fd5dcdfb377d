"""Runs a program and prints its output, its time and its processor time as JSON, with that of all it left behind.

    python benchmarks/fleet_cost.py PROGRAM ARGUMENT…

A process of its own, so that what the servers beside it leave behind is not counted.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

_SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER: what a child leaves behind becomes ours."""


def main(argv: list[str]) -> int:
    """Run it to its end, then end what it left: Ansible's persistent connections."""
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    start = time.monotonic()
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - start
    for pid in map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()):
        with suppress(OSError):
            os.kill(pid, signal.SIGTERM)
            os.waitpid(pid, 0)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(json.dumps({"seconds": seconds, "cpu_s": used.ru_utime + used.ru_stime, "stdout": done.stdout}))
    sys.stderr.write(done.stderr)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
