"""Run the same function on many devices in parallel, in a bounded pool; the errors of all devices are collected."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from toolkit.artifacts.fleet import Device
from toolkit.errors import ExitCode, Problem, ToolkitError
from toolkit.fleet.cancellation import CancelScope
from toolkit.progress import Progress, Silent, Task

T = TypeVar("T")
_Outcome = tuple[Device, T | Exception]
_log = logging.getLogger(__name__)

DEFAULT_LIMIT = 16
_POLL_S = 1.0
PARTING_S = 3.0
"""How long an interrupted fan-out waits for its threads to notice that their connections are closed."""


@dataclass(frozen=True, slots=True)
class FleetResult(Generic[T]):
    """The result of each device; every one is in `ok` or in `errors`, in the inventory's order."""

    ok: Mapping[Device, T]
    errors: Mapping[Device, Exception] = field(default_factory=dict)

    @property
    def failed(self) -> dict[Device, Problem]:
        """One problem per failed device, with everything its error says."""
        return {device: problem_of(device, error) for device, error in self.errors.items()}

    @property
    def exit_code(self) -> ExitCode:
        """SOME_FAILED if a device failed."""
        return ExitCode.SOME_FAILED if self.errors else ExitCode.DONE


def problem_of(device: Device, error: Exception) -> Problem:
    """Return the problem of an exception on a device."""
    if not isinstance(error, ToolkitError):
        what = f"{type(error).__name__}: {error}"
        return Problem(
            what, device.name, "this is a bug in the toolkit: run with TOOLKIT_DEBUG=1 to see where it happened"
        )
    whats = dict.fromkeys(_placed(problem, device) for problem in error.problems)
    remedies = dict.fromkeys(problem.remedy for problem in error.problems if problem.remedy)
    return Problem("; ".join(whats), device.name, "; ".join(remedies))


def _placed(problem: Problem, device: Device) -> str:
    return problem.what if problem.where in {"", device.name} else f"{problem.where}: {problem.what}"


def fan_out(
    devices: Sequence[Device],
    fn: Callable[[Device], T],
    limit: int = DEFAULT_LIMIT,
    *,
    progress: Progress | None = None,
    title: str = "asking",
) -> FleetResult[T]:
    """Call `fn` with each device, at most `limit` at once.

    An exception of one, expected or not, is kept in the result. Ctrl-C starts no more, closes the connections of
    those that run (those opened by `connect`), and goes on up.
    """
    pool: _Pool[T] = _Pool(devices, fn, min(limit, len(devices)))
    outcomes: dict[Device, T | Exception] = {}
    try:
        pool.start()
        with (progress or Silent()).track(f"{title}, devices", len(devices)) as task:
            for _ in devices:
                device, outcome = pool.next_outcome()
                outcomes[device] = outcome
                _advance(task, device, outcome)
    except BaseException:
        pool.stop()
        raise
    return _sorted(devices, outcomes)


def _advance(task: Task, device: Device, outcome: object) -> None:
    task.advance(note=f"{device.name}: {'failed' if isinstance(outcome, Exception) else 'done'}")


def _sorted(devices: Sequence[Device], outcomes: Mapping[Device, T | Exception]) -> FleetResult[T]:
    ok: dict[Device, T] = {}
    errors: dict[Device, Exception] = {}
    for device in devices:
        outcome = outcomes[device]
        if isinstance(outcome, Exception):
            errors[device] = outcome
        else:
            ok[device] = outcome
    return FleetResult(ok, errors)


class _Pool(Generic[T]):
    """Threads that take devices from a queue. They are daemons: one that hangs does not keep the process alive."""

    def __init__(self, devices: Sequence[Device], fn: Callable[[Device], T], size: int) -> None:
        self._finished: queue.SimpleQueue[_Outcome[T]] = queue.SimpleQueue()
        self._fn = fn
        self._waiting: queue.SimpleQueue[Device] = queue.SimpleQueue()
        for device in devices:
            self._waiting.put(device)
        self._scope = CancelScope()
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._work, daemon=True, name=f"fleet-{n}") for n in range(size)]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def next_outcome(self) -> _Outcome[T]:
        """Wait for the next outcome; short waits, because a signal just before an endless one goes unnoticed until its end."""
        while True:
            with suppress(queue.Empty):
                return self._finished.get(timeout=_POLL_S)

    def stop(self) -> None:
        """Start nothing more, close open connections, and wait a moment for the threads to end."""
        self._stopped.set()
        self._scope.end()
        for thread in filter(threading.Thread.is_alive, self._threads):
            thread.join(PARTING_S / len(self._threads))

    def _work(self) -> None:
        with self._scope.entered():
            while not self._stopped.is_set():
                try:
                    device = self._waiting.get_nowait()
                except queue.Empty:
                    return
                self._finished.put((device, self._call(device)))

    def _call(self, device: Device) -> T | Exception:
        try:
            return self._fn(device)
        except ToolkitError as error:
            return error
        except Exception as error:  # noqa: BLE001 - one device's bug must not take the others along; it is reported
            _log.debug("%s", device.name, exc_info=error)
            return error
