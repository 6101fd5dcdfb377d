"""Alerts when a class is held for a number of frames in a row, above a probability.

Configured on the device in a JSON file, or a TOML file where Python is 3.11 or newer:

    [[alert]]
    name = "no mask"
    label = "without_mask"
    above = 0.8             # of 1; default 0.5
    frames = 15             # in a row
    quiet_s = 60            # seconds until the next alert of this rule
    cleared = true          # also report when it has not matched for as many frames
    between = "22:00-06:00" # local time in which it counts

    [mqtt]                  # and, or:
    host = "broker.example"
    topic = "door/alerts"

    [webhook]
    url = "https://hooks.example/door"
"""

from __future__ import annotations

import json
import queue
import re
import socket
import threading
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple

from ...errors import DeviceError
from ..pipeline.decoding import frame_as_jpeg
from ..pipeline.messages import Frame, Result
from ..settings_file import read_settings_file
from .sinks import AlertSink, MqttSink, WebhookSink, read_fields

UNKNOWN = "unknown"
"""The label of a rule for images that the model does not answer; for bundles with a rejection rule."""
QUEUE_SIZE = 32
"""Most alerts that wait for a sink; further ones are lost."""
TRIES, PAUSE_S, LONGEST_PAUSE_S = 4, 2.0, 60.0
REPORT_S, SHORTEST_REPORT_S = 10.0, 1.0
"""Seconds between two reports of the state, and between two whose answers differ."""
RAISED, CLEARED = "raised", "cleared"
PLUGINS = "edge_vision_toolkit.alert_sinks"
"""The group of entry points through which other packages add sinks."""
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
        if self.between and not _PERIOD.fullmatch(self.between):
            yield f'between: {self.between!r} is not a period such as "22:00-06:00"'

    def counts_at(self, time_of_day: str) -> bool:
        """Return whether frames count at this local time, "HH:MM"."""
        start, _, end = self.between.partition("-")
        if start == end:
            return True
        return start <= time_of_day < end if start < end else time_of_day >= start or time_of_day < end


@dataclass(frozen=True)
class AlertConfig:
    """The rules and sinks of an alert file."""

    rules: Tuple[AlertRule, ...] = ()
    sinks: Tuple[AlertSink, ...] = ()


def read_alerts(path: Optional[Path], labels: Sequence[str]) -> AlertConfig:
    """Return the rules and sinks of a file, checked against the model's labels; an empty config without a file.

    Raises:
        DeviceError: the file cannot be read or is not valid; names every problem.
    """
    if path is None:
        return AlertConfig()
    content = read_settings_file(path)
    problems: List[str] = []
    entries = _tables(content.pop("alert", []), problems)
    rules = [_checked(AlertRule, entry, f"alert {index}", problems, labels) for index, entry in enumerate(entries, 1)]
    kinds: Dict[str, Any] = {**_plugins(content, problems), "mqtt": MqttSink, "webhook": WebhookSink}
    sinks = [_checked(kinds[name], content.pop(name), name, problems) for name in kinds if name in content]
    problems += [f"{key}: is not known" for key in content]
    names = [rule.name for rule in rules if rule is not None]
    problems += [f'alert: "{name}" is the name of several' for name in sorted({*names}) if names.count(name) > 1]
    if not problems and bool(rules) != bool(sinks):
        problems.append("alerts need a sink, such as mqtt or webhook, and sinks need alerts")
    if problems:
        raise DeviceError(
            "; ".join(problems), where=str(path), remedy="docs/architecture/08-device-app.md has an example"
        )
    return AlertConfig(tuple(filter(None, rules)), tuple(filter(None, sinks)))


def _plugins(content: Dict[str, Any], problems: List[str]) -> Dict[str, Any]:
    """Return the sinks of other packages that the file names: dataclasses in the form of an AlertSink, by their names."""
    known = metadata.entry_points()
    points: Any = known.select(group=PLUGINS) if hasattr(known, "select") else known.get(PLUGINS, ())
    kinds = {}
    for point in points:
        if point.name in content:
            try:
                kinds[point.name] = point.load()
            except Exception as error:  # noqa: BLE001 - whatever a plugin raises is a fault of the plugin
                problems.append(f"{point.name}: the plugin cannot be loaded: {type(error).__name__}: {error}")
                content.pop(point.name)
    return kinds


def _checked(kind: Any, table: Any, where: str, problems: List[str], *context: Sequence[str]) -> Any:
    """Return the dataclass of a table; append errors in its types, else in its values, to `problems`."""
    wrong: List[str] = []
    value = read_fields(kind, table, where, wrong)
    if value is not None:
        wrong += [f"{where}.{problem}" for problem in value.problems(*context)]
    problems += wrong
    return value


def _tables(entries: Any, problems: List[str]) -> List[Any]:
    if isinstance(entries, list):
        return entries
    problems.append("alert: is not a list of tables")
    return []


class RuleState:
    """Counts the consecutive frames that match one rule, and after an alert those that do not."""

    def __init__(self, rule: AlertRule) -> None:
        self.rule = rule
        self._held = self._missed = 0
        self._quiet_until = 0.0
        self._raised = False

    def see(self, probability: float, now: float, time_of_day: str) -> Optional[str]:
        """Count a frame with this probability of the rule's label; return RAISED or CLEARED if that is due."""
        matches = probability > self.rule.above and self.rule.counts_at(time_of_day)
        self._held, self._missed = (self._held + 1, 0) if matches else (0, self._missed + 1)
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
        self._watches = [RuleState(rule) for rule in config.rules]
        self._state, self._reported, self._report_due = state, "", 0.0
        self._sinks, self._log, self._clock = config.sinks, log, clock
        self._waiting: queue.Queue[Tuple[Dict[str, Any], Frame]] = queue.Queue(QUEUE_SIZE)
        self._stopping = threading.Event()
        self._problems: Dict[str, Optional[str]] = {}
        self._due: Dict[str, float] = {}
        self._pauses: Dict[str, float] = {}

    def see(self, result: Result) -> None:
        """Check a result and queue its alerts; called by the results stage."""
        if not self._watches:
            return
        probabilities = {UNKNOWN: 1.0} if result.unknown else dict(result.ranking)
        time_of_day = time.strftime("%H:%M")
        for watch in self._watches:
            probability = probabilities.get(watch.rule.label, 0.0)
            event = watch.see(probability, self._clock(), time_of_day)
            if event == RAISED:
                self.on_raised()
            if event is not None:
                self._notify(watch.rule, event, probability, result)

    def _notify(self, rule: AlertRule, event: str, probability: float, result: Result) -> None:
        message = {
            "alert": rule.name,
            "event": event,
            "label": rule.label,
            "probability": round(probability, 4),
            "frames": rule.frames,
            "at": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            "device": socket.gethostname(),
            "release": result.release,
        }
        try:
            self._waiting.put_nowait((message, result.frame))
        except queue.Full:
            self._log(f"alert {rule.name}: {QUEUE_SIZE} wait already, this one is lost")

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
