"""First stage: read frames from a source, and reopen a lost one."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Callable, Optional, Set

from ..sources.base import DamagedFrameError, Pace, RawFrame, Source, SourceLost
from .messages import DropOldestQueue, Frame, now_ns

if TYPE_CHECKING:
    from .messages import Counters

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 15.0
MOST_NAMED = 100
"""Damaged frames that are logged by name; later ones are only counted."""
_STEP_S = 0.2
Log = Callable[[str], None]


class FrameCapture(threading.Thread):
    """Reads a source into a queue; reopens a lost source after pauses that double up to LONGEST_PAUSE_S.

    A live source sets the pace, and frames that are not taken in time are dropped. Other sources are read at their own
    rate, if they have one, else at `fps` frames per second; with fps = 0 as fast as frames are taken, without drops.
    Damaged frames are skipped, counted, and logged once each.
    """

    def __init__(
        self, source: Source, captured: DropOldestQueue[Frame], counters: Counters, log: Log, fps: float = 0
    ) -> None:
        super().__init__(name="capture", daemon=True)
        self.problem: Optional[str] = "not opened yet"
        """Why no frames arrive; None while they do."""
        self.on_frame: Callable[[Frame], None] = lambda _: None
        """Called for each frame before it is queued; must be quick."""
        self._source, self._captured, self._counters, self._log, self._fps = source, captured, counters, log, fps
        self._pause_s = FIRST_PAUSE_S
        self._skipped: Set[str] = set()
        self._stopping = threading.Event()

    def run(self) -> None:
        """Read frames until `stop`."""
        while not self._stopping.is_set():
            try:
                self._source.open()
                self._read_on()
            except SourceLost as lost:
                self._lost(str(lost))
            except Exception as error:  # noqa: BLE001 - whatever a driver raises, the camera is tried again
                self._lost(f"{type(error).__name__}: {error}")
            finally:
                self._source.close()
            self._stopping.wait(self._pause_s)
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)

    def _read_on(self) -> None:
        own = self._source.fps
        pace = Pace(own if own is not None else 0 if self._source.live else self._fps)
        waits = not self._source.live and not self._fps
        while not self._stopping.is_set():
            if waits and not self._captured.has_room(_STEP_S):
                continue
            if self._stopping.wait(pace.delay_s()):
                return
            try:
                self._hand_on(self._source.read())
            except DamagedFrameError as damaged:
                self._skip(str(damaged))

    def _skip(self, what: str) -> None:
        self._counters.add("captured")
        self._counters.add("damaged")
        if what not in self._skipped and len(self._skipped) < MOST_NAMED:
            self._skipped.add(what)
            self._log(f"skipped {what}")

    def _hand_on(self, taken: RawFrame) -> None:
        self._counters.add("captured")
        number, moment = self._counters["captured"], now_ns()
        frame = Frame(number, moment, jpeg=taken) if isinstance(taken, bytes) else Frame(number, moment, pixels=taken)
        self.on_frame(frame)
        self._captured.put(frame)
        if self.problem is not None:
            self._log(
                f"camera {self._source.name}: frames come" + (" again" if self._counters["camera_losses"] else "")
            )
            self.problem, self._pause_s = None, FIRST_PAUSE_S

    def _lost(self, why: str) -> None:
        if self.problem != why:
            self._log(f"camera {self._source.name}: {why}; trying again")
            self.problem = why
        self._counters.add("camera_losses")

    def stop(self) -> None:
        """Ask the thread to end; it ends after the frame it waits for."""
        self._stopping.set()
