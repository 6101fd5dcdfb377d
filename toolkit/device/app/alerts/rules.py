"""Alerts when a class stays above a probability for a number of consecutive frames."""

from __future__ import annotations

import json
import queue
import re
import socket
import threading
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple

from ..pipeline.decoding import frame_as_jpeg
from ..pipeline.messages import Classification, Counters, Frame
from ..regions import Region, read_region

if TYPE_CHECKING:
    from .alert_file import AlertConfig
    from .sinks import AlertSink

UNKNOWN = "unknown"
"""The label of a rule for images that the model does not answer; for bundles with a rejection rule."""
QUEUE_SIZE = 32
"""Most alerts that wait for a sink; further ones are lost."""
TRIES, PAUSE_S, LONGEST_PAUSE_S = 4, 2.0, 60.0
REPORT_S, SHORTEST_REPORT_S = 10.0, 1.0
"""Seconds between two reports of the state, and between two whose answers differ."""
RAISED, CLEARED = "raised", "cleared"
_STEP_S = 0.5
_PERIOD = re.compile(r"([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d", re.ASCII)
Log = Callable[[str], None]


@dataclass(frozen=True)
class AlertRule:
    """When to send an alert, and its name."""

    name: str
    label: str
    above: float = 0.5
    frames: int = 10
    quiet_s: float = 60.0
    cleared: bool = False
    """Whether the end of an alert is reported, too: as many frames in a row that do not match."""
    below: Optional[float] = None
    """The probability at and below which a frame counts towards the end of an alert; by default `above`."""
    region: Optional[List[float]] = None
    """The part of the image that is classified for this rule; by default all of it."""
    between: str = ""
    """"HH:MM-HH:MM" of local time in which frames count, across midnight if the end is earlier; empty: always."""

    def problems(self, labels: Sequence[str]) -> Iterator[str]:
        """Yield the fields that are not valid, with the reason."""
        if not self.name.strip():
            yield "name: is empty"
        if self.label not in labels:
            shown = ", ".join(labels[:20]) + (", …" if len(labels) > 20 else "")
            yield f'label: the model has no label "{self.label}"; it has {shown}'
        if not 0 <= self.above < 1:
            yield f"above: {self.above} is not a probability from 0 to below 1"
        if self.frames < 1:
            yield f"frames: {self.frames} is less than 1"
        if not 0 <= self.quiet_s < float("inf"):
            yield f"quiet_s: {self.quiet_s} is not a number of seconds"
        if self.below is not None and not 0 <= self.below <= self.above:
            yield f"below: {self.below} is not a probability from 0 to {self.above}, the value of above"
        try:
            _ = self.area
        except ValueError as error:
            yield f"region: {error}"
        if self.between and not _PERIOD.fullmatch(self.between):
            yield f'between: {self.between!r} is not a period such as "22:00-06:00"'

    @property
    def area(self) -> Optional[Region]:
        """Return the region; None for the whole image. Raises ValueError if it is not one."""
        return None if self.region is None else read_region(self.region)

    def counts_at(self, time_of_day: str) -> bool:
        """Return whether frames count at this local time, "HH:MM"."""
        start, _, end = self.between.partition("-")
        if start == end:
            return True
        return start <= time_of_day < end if start < end else time_of_day >= start or time_of_day < end


class RuleState:
    """Counts the consecutive frames that match one rule, and after an alert those that do not."""

    def __init__(self, rule: AlertRule) -> None:
        self.rule = rule
        self._held = self._missed = 0
        self._quiet_until = 0.0
        self._raised = False

    def see(self, probability: float, now: float, time_of_day: str) -> Optional[str]:
        """Count a frame with this probability of the rule's label; return RAISED or CLEARED if that is due."""
        counts = self.rule.counts_at(time_of_day)
        matches = counts and probability > self.rule.above
        ends = not counts or probability <= (self.rule.above if self.rule.below is None else self.rule.below)
        self._held, self._missed = self._held + 1 if matches else 0, self._missed + 1 if ends else 0
        if self._raised and self._missed >= self.rule.frames:
            self._raised = False
            return CLEARED if self.rule.cleared else None
        if self._held < self.rule.frames or now < self._quiet_until:
            return None
        self._held, self._quiet_until, self._raised = 0, now + self.rule.quiet_s, True
        return RAISED


class AlertDispatcher(threading.Thread):
    """Checks each result against the rules; sends the alerts on its own thread."""

    def __init__(
        self,
        config: AlertConfig,
        log: Log,
        state: Callable[[], Dict[str, Any]] = dict,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Create the thread; `state` returns the state of the app, which is reported to the sinks that take it."""
        super().__init__(name="alerts", daemon=True)
        self.on_raised: Callable[[], object] = lambda: None
        """Called by `see` when an alert is raised, before the listeners after it get the same result."""
        self.record: Callable[[Dict[str, Any], Frame], Optional[str]] = lambda *_: None
        """Called with the message and the frame of an alert that is raised; returns the name of its recording."""
        self.counters = Counters()
        """"raised": alerts of rules since the start, whether sent or not; those about drift are not among them."""
        self._watches = [(rule.area, RuleState(rule)) for rule in config.rules]
        self._state, self._reported, self._report_due = state, "", 0.0
        self._sinks, self._log, self._clock = config.sinks, log, clock
        self._waiting: queue.Queue[Tuple[Dict[str, Any], Frame]] = queue.Queue(QUEUE_SIZE)
        self._stopping = threading.Event()
        self._problems: Dict[str, Optional[str]] = {}
        self._due: Dict[str, float] = {}
        self._pauses: Dict[str, float] = {}

    def see(self, result: Classification, region: Optional[Region] = None) -> None:
        """Check a result of the whole image, or of a region, and queue its alerts; one thread for each of the two."""
        watches = [watch for area, watch in self._watches if area == region]
        if not watches:
            return
        probabilities = {UNKNOWN: 1.0} if result.unknown else dict(result.ranking)
        time_of_day = time.strftime("%H:%M")
        for watch in watches:
            probability = probabilities.get(watch.rule.label, 0.0)
            event = watch.see(probability, self._clock(), time_of_day)
            if event == RAISED:
                self.counters.add("raised")
                self.on_raised()
            if event is not None:
                self._notify(watch.rule, event, probability, result)

    def _notify(self, rule: AlertRule, event: str, probability: float, result: Classification) -> None:
        message: Dict[str, Any] = {
            "alert": rule.name,
            "event": event,
            "label": rule.label,
            "probability": round(probability, 4),
            "frames": rule.frames,
            "at": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            "device": socket.gethostname(),
            "release": result.release,
        }
        recording = self.record(message, result.frame) if event == RAISED else None
        if recording is not None:
            message["recording"] = recording
        try:
            self._waiting.put_nowait((message, result.frame))
        except queue.Full:
            self._log(f"alert {rule.name}: {QUEUE_SIZE} are waiting already; this one is dropped")

    def report_drift(self, signal: str, event: str, result: Classification) -> None:
        """Queue an alert about drift of a signal, for the sinks of the file; called by the results stage."""
        label, probability = result.ranking[0]
        if self._sinks:
            self._notify(AlertRule(f"drift: {signal}", label, frames=1), event, probability, result)

    def run(self) -> None:
        """Send alerts until `end`."""
        while not self._stopping.is_set():
            try:
                message, frame = self._waiting.get(timeout=_STEP_S)
            except queue.Empty:
                self._keep_alive()
                self._report()
                continue
            self._report()
            jpeg = frame_as_jpeg(frame)
            for sink in self._sinks:
                self._send(sink, message, jpeg)
        for sink in self._sinks:
            sink.close()

    def state(self) -> List[Dict[str, Any]]:
        """Return {"name", "problem"} of each sink; the problem is None while the sink can be reached."""
        return [{"name": sink.name, "problem": self._problems.get(sink.name)} for sink in self._sinks]

    def _keep_alive(self) -> None:
        """Keep each sink alive; one that cannot be reached is tried again after pauses that double."""
        for sink in self._sinks:
            if time.monotonic() < self._due.get(sink.name, 0):
                continue
            try:
                sink.keep_alive()
            except (OSError, ValueError) as error:
                self._note(sink, str(error) or type(error).__name__)
                pause_s = min(2 * self._pauses.get(sink.name, PAUSE_S), LONGEST_PAUSE_S)
            else:
                self._note(sink, None)
                pause_s = PAUSE_S
            self._pauses[sink.name], self._due[sink.name] = pause_s, time.monotonic() + pause_s

    def _report(self) -> None:
        """Report the state to sinks that can be reached: every REPORT_S, and sooner if the answer is another."""
        if not self._sinks or time.monotonic() < self._report_due - REPORT_S + SHORTEST_REPORT_S:
            return
        state = self._state()
        latest = state.get("latest") or {"ranking": [{"label": ""}]}
        answer = UNKNOWN if latest.get("unknown") else latest["ranking"][0]["label"]
        if not state or (answer == self._reported and time.monotonic() < self._report_due):
            return
        self._reported, self._report_due = answer, time.monotonic() + REPORT_S
        for sink in self._sinks:
            if self._problems.get(sink.name):
                continue
            try:
                sink.report(state)
            except (OSError, ValueError) as error:
                self._note(sink, str(error) or type(error).__name__)

    def _note(self, sink: AlertSink, problem: Optional[str]) -> None:
        if problem and not self._problems.get(sink.name):
            self._log(f"alerts to {sink.name}: {problem}")
        self._problems[sink.name] = problem

    def _send(self, sink: AlertSink, message: Dict[str, Any], jpeg: bytes) -> None:
        content = json.dumps(message, ensure_ascii=False).encode()
        why = ""
        for attempt in range(TRIES):
            if attempt and self._stopping.wait(PAUSE_S * 2**attempt):
                break
            try:
                sink.send(content, jpeg)
            except (OSError, ValueError) as error:
                why = str(error) or type(error).__name__
            else:
                self._problems[sink.name] = None
                return
        self._problems[sink.name] = why
        self._log(f"alert {message['alert']} did not reach {sink.name}: {why}")

    def end(self, timeout: float) -> bool:
        """Stop the thread; return whether it ended in time."""
        self._stopping.set()
        if self.is_alive():
            self.join(timeout)
        return not self.is_alive()
