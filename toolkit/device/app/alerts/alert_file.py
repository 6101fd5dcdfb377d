"""The alert file on a device: JSON, or TOML where Python is 3.11 or newer.

    [[alert]]
    name = "no mask"
    label = "without_mask"
    above = 0.8             # of 1; default 0.5
    frames = 15             # in a row
    quiet_s = 60            # seconds until the next alert of this rule
    cleared = true          # also report when it has not matched for as many frames
    between = "22:00-06:00" # local time in which it counts
    below = 0.6             # a raised alert is cleared by frames of at most this probability; default: above
    region = [0, 0.5, 1, 1] # classify this part of the image: left, top, right, bottom

    [mqtt]                  # and, or, like sinks of other packages:
    host = "broker.example"
    topic = "door/alerts"

    [webhook]
    url = "https://hooks.example/door"

The tables [recordings] and [trigger] are described in `recordings` and `pipeline/trigger`.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

from ...errors import DeviceError
from ..pipeline.trigger import TriggerSettings
from ..regions import Region
from ..settings_file import read_settings_file
from .recordings import RecordingSettings
from .rules import AlertRule
from .sinks import AlertSink, MqttSink, WebhookSink, read_fields

PLUGINS = "edge_vision_toolkit.alert_sinks"
"""The group of entry points through which other packages add sinks."""


@dataclass(frozen=True)
class AlertConfig:
    """The content of an alert file."""

    rules: Tuple[AlertRule, ...] = ()
    sinks: Tuple[AlertSink, ...] = ()
    recordings: Optional[RecordingSettings] = None
    trigger: Optional[TriggerSettings] = None

    @property
    def regions(self) -> Tuple[Region, ...]:
        """Return the regions of the rules, each once."""
        return tuple(dict.fromkeys(rule.area for rule in self.rules if rule.area is not None))


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
    tables: Dict[str, Any] = {"recordings": RecordingSettings, "trigger": TriggerSettings}
    own = {name: _checked(kind, content.pop(name), name, problems) for name, kind in tables.items() if name in content}
    problems += [f"{key}: is not known" for key in content]
    names = [rule.name for rule in rules if rule is not None]
    problems += [f'alert: "{name}" is the name of several' for name in sorted({*names}) if names.count(name) > 1]
    if not problems and bool(rules) != bool(sinks or "recordings" in own) and {*own} != {"trigger"}:
        problems.append("alerts need a sink, such as mqtt or webhook, or recordings, and these need alerts")
    if problems:
        raise DeviceError(
            "; ".join(problems), where=str(path), remedy="docs/architecture/08-device-app.md has an example"
        )
    return AlertConfig(tuple(filter(None, rules)), tuple(filter(None, sinks)), **own)


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
