"""Parent's handle of a training process: starts it with a profile, sends requests, receives events, stops it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress

from toolkit.errors import Problem
from toolkit.experiment.compute_profiles import ComputeProfile
from toolkit.train.executors import parallelism
from toolkit.train.executors.events import Event, Failed, TrainRequest, read

STOP_S = 15.0
"""How long it may take to end after its stdin did; then it is killed. Its own patience with itself is shorter."""
_MAX_OUTPUT = 2000


class TrainingProcess:
    """A running worker.

    Lifecycle: `give` one request, `read_events` until Done or Failed, give the next; then `stop`. It has its own session, so
    that Ctrl-C reaches only its parent, which stops it; it also stops when its parent has ended.
    """

    def __init__(self, profile: ComputeProfile, environment: Mapping[str, str]) -> None:
        self.profile = profile
        self._talk = tempfile.TemporaryFile()  # noqa: SIM115 - closed by stop()
        self._process = subprocess.Popen(
            profile.command("-P", "-m", "toolkit.train.executors.worker"),
            env=profile.applied_environment(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._talk,
            start_new_session=True,
        )
        self._rest = b""

    def give(self, request: TrainRequest) -> None:
        """Send a request; if the process has ended, `read_events` returns None."""
        assert self._process.stdin is not None  # noqa: S101 - so it was started
        with suppress(BrokenPipeError):
            self._process.stdin.write(request.to_json().encode() + b"\n")
            self._process.stdin.flush()

    def fileno(self) -> int:
        """Return the file descriptor that is readable when there are events."""
        assert self._process.stdout is not None  # noqa: S101 - so it was started
        return self._process.stdout.fileno()

    def read_events(self) -> list[Event] | None:
        """Wait for events and return them; None once the process has ended."""
        chunk = os.read(self.fileno(), 1 << 16)
        if not chunk:
            return None
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return [read(line) for line in lines]

    def is_silent_for_ever(self) -> bool:
        """Whether it has ended and all that it said was heard, though what it started may still hold its pipe."""
        return self._process.poll() is not None and not select.select([self], [], [], 0)[0]

    def part(self) -> None:
        """Let it know that no more is wanted of it."""
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                pipe.close() if pipe else None

    def stop(self) -> int:
        """End it and all that it started; its exit code, or minus the signal that ended it."""
        self.part()
        try:
            code = self._process.wait(STOP_S)
        except BaseException as error:
            self._process.kill()
            code = self._process.wait()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        return code

    def death(self, trial: str) -> Failed:
        """Why it ended in the middle of a trial, for people."""
        code = self.stop()
        self._talk.seek(0)
        output = self._talk.read().decode(errors="replace")[-_MAX_OUTPUT:].strip()
        self._talk.close()
        return Failed("MachineError", (_problem(trial, code, output),))


def _problem(trial: str, code: int, output: str) -> Problem:
    if code == -signal.SIGKILL:
        what = "the process that trained it was killed (signal 9); usually because memory ran out"
        return Problem(what, trial, parallelism.OUT_OF_MEMORY_REMEDY)
    end = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
    what = f"the process that trained it {end}" + (f"; its last output:\n{output}" if output else "")
    return Problem(what, trial, "run the same command again; if it fails again, report its last output")
