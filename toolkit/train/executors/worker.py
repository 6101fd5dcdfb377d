"""Worker process that trains requested trials: `PYTHON -m toolkit.train.executors.worker`, requests on stdin, events on stdout.

It handles one request after the other, so that TensorFlow is started once for many trials. If stdin ends, the parent has
exited or needs no more trials: the worker stops at once, as after Ctrl-C, and finished stages remain.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import BinaryIO

from toolkit import hashing
from toolkit.artifacts.model import TrainedModel
from toolkit.errors import ExitCode, Problem, ToolkitError
from toolkit.train import run_dir
from toolkit.train.executors.events import (
    Done,
    EpochDone,
    Event,
    EventProgress,
    Failed,
    Log,
    StageDone,
    TrainRequest,
    write,
)
from toolkit.train.executors.parallelism import OUT_OF_MEMORY_REMEDY
from toolkit.train.file_lock import file_lock
from toolkit.train.fitting.replicas import connect
from toolkit.train.trial import train_trial

GRACE_S = 10.0
"""How long an interrupted trial may take to come to its senses."""


def main() -> None:
    """Serve until stdin ends."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which whoever works in the background does not have
    send = _sender_to(_own_stdout())
    lines = _Lines(sys.stdin.buffer)
    try:
        while (line := lines.next()) is not None:
            lines.busy = True
            outcome = train(TrainRequest.from_json(line), send)
            lines.busy = False
            send(outcome)
    except KeyboardInterrupt:
        os._exit(ExitCode.INTERRUPTED)  # whatever other threads still do is of no use to anybody
    except Exception:  # noqa: BLE001 - its last words, which its parent passes on
        traceback.print_exc()
        os._exit(ExitCode.SOME_FAILED)


def train(request: TrainRequest, send: Callable[[Event], None]) -> Done | Failed:
    """Train one trial, telling of all on the way; errors become the outcome."""
    try:
        with file_lock(
            _lock(request),
            waiting=lambda: send(Log(f"{request.trial.name}: waiting for the process that is training it")),
        ):
            train_trial(
                request.experiment,
                request.trial,
                request.split,
                request.workspace,
                _Sender(request, send),
                EventProgress(send),
                last=request.last,
                on_epoch_end=lambda run, epoch: send(EpochDone(run, epoch)),
                replicas=connect(request.place),
            )
    except ToolkitError as error:
        return Failed(type(error).__name__, error.problems)
    except Exception as error:
        if not _is_out_of_memory(error):
            raise
        return Failed(
            "MachineError", (Problem("out of memory while training", request.trial.name, OUT_OF_MEMORY_REMEDY),)
        )
    return Done()


class _Sender:
    """Keeps nothing itself: says where a finished stage's model lies."""

    def __init__(self, request: TrainRequest, send: Callable[[Event], None]) -> None:
        self._request, self._send = request, send

    def put(self, artifact: TrainedModel) -> None:
        own = self._request
        folder = run_dir.stage_folder(own.workspace, own.experiment, artifact.run, own.trial, artifact.stage)
        self._send(StageDone(own.workspace.relative(folder)))


class _Lines:
    """Lines of a stream, read ahead in a thread that also notices its end."""

    def __init__(self, stream: BinaryIO) -> None:
        self.busy = False
        self._lines: SimpleQueue[str | None] = SimpleQueue()
        threading.Thread(target=self._read, args=(stream,), daemon=True).start()

    def next(self) -> str | None:
        """The next line; None at the end."""
        return self._lines.get()

    def _read(self, stream: BinaryIO) -> None:
        for line in stream:
            self._lines.put(line.decode())
        self._lines.put(None)
        if self.busy:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            time.sleep(GRACE_S)
            os._exit(ExitCode.INTERRUPTED)


def _own_stdout() -> BinaryIO:
    """The pipe to the parent, which nothing else gets: what libraries print goes to stderr."""
    stream = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return stream


def _sender_to(stream: BinaryIO) -> Callable[[Event], None]:
    lock = threading.Lock()

    def send(event: Event) -> None:
        with lock:
            stream.write(write(event))
            stream.flush()

    return send


def _lock(request: TrainRequest) -> Path:
    """One for each trial on one split, and for each replica."""
    names = [request.trial.model_dump(mode="json"), request.split.digest]
    name = hashing.sha256_json([*names, request.place.index] if request.place else names)
    return request.workspace.folder("cache", "locks") / name


def _is_out_of_memory(error: Exception) -> bool:
    """Python's own, or TensorFlow's."""
    return isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError"


if __name__ == "__main__":
    main()
