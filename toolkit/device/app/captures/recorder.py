"""The thread that stores captures, and its counters."""

from __future__ import annotations

import contextlib
import hashlib
import os
import queue
import threading
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Dict, Optional, Tuple

from ...capture_record import CaptureRecord
from ...rejection import of_each_class
from ..pipeline.decoding import decode_frame, encode_jpeg, frame_as_jpeg
from ..pipeline.messages import Counters
from ..regions import cover
from .capture_folder import CaptureFolder
from .policies import CapturePolicy

if TYPE_CHECKING:
    from ..pipeline.messages import Classification, Frame
    from .capture_settings import CaptureSettings

QUEUE_SIZE = 8
"""Most captures that wait to be stored; further ones are lost and counted."""
TEND_S, PAUSE_S = 60.0, 30.0
"""Seconds between two rounds of retention, and after a disk error."""
COUNTERS = ("stored", "dropped", "duplicates", "no_room", "failed")
LOWEST_PRIORITY = 19
SYNCHRONIZED = Path("/run/systemd/timesync/synchronized")
"""Exists once systemd has set the clock over the network."""
_STEP_S = 0.5
Log = Callable[[str], None]


class CaptureRecorder(threading.Thread):
    """Stores the results that the policy chooses. `see` is called by the results stage, `ask` by any thread."""

    def __init__(
        self,
        settings: CaptureSettings,
        camera: str,
        log: Log,
        folder: Optional[CaptureFolder] = None,
        synchronized: Callable[[], bool] = SYNCHRONIZED.exists,
    ) -> None:
        super().__init__(name="captures", daemon=True)
        self.problem: Optional[str] = None
        """Why nothing is stored; None while it is."""
        self._settings, self._camera, self._log, self._synchronized = settings, camera, log, synchronized
        self._folder = folder or CaptureFolder(settings.folder, settings.limits)
        self._policy = CapturePolicy(settings)
        self._waiting: queue.Queue[Tuple[Classification, str, float, bool]] = queue.Queue(QUEUE_SIZE)
        self._counters = Counters()
        self._held = (0, 0)
        self._paused_until = self._tend_due = self._end_due = 0.0
        self._stopping = threading.Event()

    def see(self, result: Classification) -> None:
        """Queue a result if it is to be captured."""
        policy = self._policy.choose(result)
        if policy is None or result.answer is None:
            return
        try:
            self._waiting.put_nowait((result, policy, time.time(), self._synchronized()))
        except queue.Full:
            self._counters.add("dropped")

    def ask(self) -> bool:
        """Capture the next result; return False if captures on request are off."""
        return self._policy.ask()

    def state(self) -> Dict[str, Any]:
        """Return the counters since the start, the number and size of the captures on the device, and the problem."""
        held, size_bytes = self._held
        return {
            **{name: self._counters[name] for name in COUNTERS},
            "evicted": self._folder.evicted,
            "expired": self._folder.expired,
            "held": held,
            "size_bytes": size_bytes,
            "problem": self.problem,
        }

    def run(self) -> None:
        """Store captures until `end`; those that wait then are stored if there is time."""
        with contextlib.suppress(OSError):  # a sandbox may forbid it
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOWEST_PRIORITY)
        opened = False
        while not self._stopping.is_set() or (not self._waiting.empty() and time.monotonic() < self._end_due):
            opened = opened or self._try(self._folder.open)
            if opened and time.monotonic() >= self._tend_due:
                self._tend_due = time.monotonic() + TEND_S
                self._try(self._folder.tend)
            with contextlib.suppress(queue.Empty):
                self._handle(*self._waiting.get(timeout=_STEP_S), opened=opened)
            self._held = (self._folder.count, self._folder.size_bytes)
        self._folder.close()

    def _handle(self, result: Classification, policy: str, at: float, synchronized: bool, *, opened: bool) -> None:
        if not opened or time.monotonic() < self._paused_until:
            self._counters.add("failed")
        elif not self._folder.has_room():
            self._counters.add("no_room")
            self._note(f"the disk has less than {self._settings.limits.reserve_mib} MiB free")
        else:
            self._try(lambda: self._store(result, policy, at, synchronized))

    def _try(self, action: Callable[[], None]) -> bool:
        """Run what uses the disk; after an error, wait for a while. The thread survives whatever is raised."""
        if time.monotonic() < self._paused_until:
            return False
        try:
            action()
        except Exception as error:  # noqa: BLE001 - one image that fails must not end captures
            self._counters.add("failed")
            self._note(str(error) or type(error).__name__)
            self._paused_until = time.monotonic() + (PAUSE_S if isinstance(error, OSError) else 0)
            return False
        self._note(None)
        return True

    def _store(self, result: Classification, policy: str, at: float, synchronized: bool) -> None:
        assert result.answer is not None  # noqa: S101 - `see` checks it
        jpeg = self._masked(result.frame)
        digest = hashlib.sha256(jpeg).hexdigest()
        if self._folder.holds(digest):
            self._counters.add("duplicates")
            return
        probabilities = of_each_class(result.answer[None])[0].tolist()
        label, confidence = result.ranking[0]
        record = CaptureRecord(
            digest=digest,
            release=result.release,
            camera=self._camera,
            time=datetime.fromtimestamp(at, timezone.utc).isoformat(timespec="milliseconds"),
            policy=policy,
            label=label,
            confidence=_rounded(confidence),
            probabilities=tuple(map(_rounded, probabilities)),
            score=None if result.score is None else _rounded(result.score),
            clock_synchronized=synchronized,
        )
        self._folder.add(record, jpeg)
        self._counters.add("stored")

    def _masked(self, frame: Frame) -> bytes:
        """Return the frame as a JPEG in which the masks are black; without masks, a camera's JPEG as it came."""
        if not self._settings.masks:
            return frame_as_jpeg(frame)
        return encode_jpeg(cover(decode_frame(frame), self._settings.masks))

    def _note(self, problem: Optional[str]) -> None:
        if problem and problem != self.problem:
            self._log(f"captures: {problem}")
        self.problem = problem

    def end(self, timeout: float) -> bool:
        """Stop the thread; what waits is stored within half of the timeout. Return whether it ended in time."""
        self._end_due = time.monotonic() + timeout / 2
        self._stopping.set()
        if self.is_alive():
            self.join(timeout)
        return not self.is_alive()


def _rounded(value: float) -> float:
    """Return a probability as it is written: within 0 and 1, whatever rounding in float32 made of it."""
    return round(min(max(value, 0.0), 1.0), 6)
