"""A word to somebody when a class is held: so many frames in a row, above a probability.

Configured on the device in a JSON file, or a TOML file where Python is 3.11 or newer:

    [[alert]]
    name = "no mask"
    label = "without_mask"
    above = 0.8             # of 1; 0.5 if it is not said
    frames = 15             # in a row
    quiet_s = 60            # no second word for so long

    [mqtt]                  # and, or:
    host = "broker.example"
    topic = "door/alerts"

    [webhook]
    url = "https://hooks.example/door"
"""

from __future__ import annotations

import importlib
import json
import queue
import socket
import threading
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

from ...errors import DeviceError
from ..pipeline.messages import Result
from .sinks import AlertSink, MqttSink, WebhookSink, read_fields

QUEUE_SIZE = 32
"""So many alerts wait for a broker that does not answer; the newest are lost."""
TRIES, PAUSE_S = 4, 2.0
_STEP_S = 0.5
Log = Callable[[str], None]


@dataclass(frozen=True)
class AlertRule:
    """One kind of alert."""

    name: str
    label: str
    above: float = 0.5
    frames: int = 10
    quiet_s: float = 60.0


@dataclass(frozen=True)
class AlertConfig:
    """What the file says."""

    rules: Tuple[AlertRule, ...] = ()
    outputs: Tuple[AlertSink, ...] = ()


def read_alerts(path: Optional[Path]) -> AlertConfig:
    """What is to be told, and to whom; nothing without a file.

    Raises:
        DeviceError: it cannot be read or understood; everything that is wrong with it is named.
    """
    if path is None:
        return AlertConfig()
    content = _read(path)
    problems: List[str] = []
    entries = content.pop("alert", [])
    rules = [
        read_fields(AlertRule, entry, f"alert {index}", problems)
        for index, entry in enumerate(_tables(entries, problems), 1)
    ]
    kinds: Dict[str, Any] = {"mqtt": MqttSink, "webhook": WebhookSink}
    outputs = [read_fields(kinds[name], content.pop(name), name, problems) for name in kinds if name in content]
    problems += [f"{key}: is not known" for key in content]
    if not problems and bool(rules) != bool(outputs):
        problems.append("alerts need mqtt or webhook, and these need alerts")
    if problems:
        raise DeviceError(
            "; ".join(problems), where=str(path), remedy="docs/architecture/08-device-app.md has an example"
        )
    return AlertConfig(tuple(rules), tuple(outputs))


def _tables(entries: Any, problems: List[str]) -> List[Any]:
    if isinstance(entries, list):
        return entries
    problems.append("alert: is no list of tables")
    return []


def _read(path: Path) -> Dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        content = importlib.import_module("tomllib").loads(text) if path.suffix == ".toml" else json.loads(text)
    except ImportError:
        raise DeviceError(
            "is TOML, which this Python does not read", where=str(path), remedy="write it as JSON"
        ) from None
    except (OSError, ValueError) as error:
        raise DeviceError(f"cannot be read: {error}", where=str(path)) from None
    if not isinstance(content, dict):
        raise DeviceError("is no table", where=str(path))
    return content


class RuleState:
    """Counts for one rule."""

    def __init__(self, rule: AlertRule) -> None:
        self.rule = rule
        self._held = 0
        self._quiet_until = 0.0

    def see(self, probabilities: Dict[str, float], now: float) -> Optional[float]:
        """The probability, when it is time for a word; else None."""
        probability = probabilities.get(self.rule.label, 0.0)
        self._held = self._held + 1 if probability > self.rule.above else 0
        if self._held < self.rule.frames or now < self._quiet_until:
            return None
        self._held, self._quiet_until = 0, now + self.rule.quiet_s
        return probability


class AlertDispatcher(threading.Thread):
    """Sees each result, and tells of it on a thread of its own."""

    def __init__(self, wanted: AlertConfig, log: Log, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(name="alerts", daemon=True)
        self._watches = [RuleState(rule) for rule in wanted.rules]
        self._outputs, self._log, self._clock = wanted.outputs, log, clock
        self._waiting: queue.Queue[Dict[str, Any]] = queue.Queue(QUEUE_SIZE)
        self._stopping = threading.Event()

    def see(self, result: Result) -> None:
        """In the results' stage: count, and hand over."""
        if not self._watches:
            return
        probabilities = dict(result.ranking)
        for watch in self._watches:
            probability = watch.see(probabilities, self._clock())
            if probability is not None:
                self._notify(watch.rule, probability, result)

    def _notify(self, rule: AlertRule, probability: float, result: Result) -> None:
        message = {
            "alert": rule.name,
            "label": rule.label,
            "probability": round(probability, 4),
            "frames": rule.frames,
            "at": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            "device": socket.gethostname(),
            "release": result.release,
        }
        try:
            self._waiting.put_nowait(message)
        except queue.Full:
            self._log(f"alert {rule.name}: {QUEUE_SIZE} wait already, this one is lost")

    def run(self) -> None:
        """Until `end`."""
        while not self._stopping.is_set():
            try:
                message = self._waiting.get(timeout=_STEP_S)
            except queue.Empty:
                continue
            for output in self._outputs:
                self._send(output, message)

    def _send(self, output: AlertSink, message: Dict[str, Any]) -> None:
        content = json.dumps(message, ensure_ascii=False).encode()
        why = ""
        for attempt in range(TRIES):
            if attempt and self._stopping.wait(PAUSE_S * 2**attempt):
                break
            try:
                output.send(content)
            except (OSError, ValueError) as error:
                why = str(error) or type(error).__name__
            else:
                return
        self._log(f"alert {message['alert']} did not reach {output.name}: {why}")

    def end(self, timeout: float) -> bool:
        """Whether it ended in time."""
        self._stopping.set()
        if self.is_alive():
            self.join(timeout)
        return not self.is_alive()
