"""Poll devices: their release, speed and temperature, and when they were last reached."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from toolkit.artifacts.fleet import Device
from toolkit.errors import FleetError
from toolkit.fleet.facts import PROBE
from toolkit.fleet.pool import DEFAULT_LIMIT, fan_out
from toolkit.fleet.ssh.connection import connect
from toolkit.fleet.ssh.shell import Shell

APP, STATE_FILE = "toolkit_app", "toolkit_state_file"
"""The inventory's variables for the live app's address on the device, and for the file it writes."""
THROTTLED_NOW, THROTTLED_SINCE_BOOT = 0xF, 0xF0000
PATIENCE_S = 20.0
MOST_FIGURES = 128
SAMPLE_SCRIPT = r"""
python=$1; shift
for python in "$python" python3; do
  if command -v "$python" >/dev/null 2>&1; then exec "$python" -B - "$@"; fi
done
echo '{}'
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraMeans:
    """What a device's camera has shown lately on the release that it serves."""

    frames: int
    means: Mapping[str, float]
    """By signal: brightness, contrast, sharpness in levels of 0…255; distance, 1 being that of a usual training image;
    confidence 0…1."""
    classes: Mapping[str, float]
    """The share of frames by answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSample:
    """One poll of a device; None means unknown."""

    device: str
    release: str | None = None
    name: str | None = None
    """Of the bundle."""
    fps: float | None = None
    """Images per second of its live app; None if none runs."""
    app: str | None = None
    """"well", or what troubles the live app, or why it does not answer; None where none runs and none was named."""
    drift: tuple[str, ...] | None = None
    """Signals of its camera that have drifted; None where drift detection is off."""
    drift_learned: float | None = None
    """Part of the reference that drift detection has learned, 0…1; before 1, no drift is raised."""
    camera: CameraMeans | None = None
    """None where drift detection is off, and from releases that do not report it."""
    uptime_s: float | None = None
    """Since its live app started."""
    alerts: int | None = None
    """Alerts of rules since then; None from releases that do not count them."""
    captures: int | None = None
    """Images that it has captured to be labeled; None where captures are off."""
    temperature_c: float | None = None
    throttled: int | None = None
    """Throttling bits of the firmware: 0-3 now, 16-19 since boot."""
    clock_mhz: float | None = None
    load_1min: float | None = None
    seen: str | None = None
    """When it last answered, by this machine's clock."""
    problem: str | None = None
    """Why it did not answer this time."""

    @property
    def throttle(self) -> str:
        """Return "now", "since boot" or "no"; empty without that firmware."""
        if self.throttled is None:
            return ""
        return (
            "now" if self.throttled & THROTTLED_NOW else "since boot" if self.throttled & THROTTLED_SINCE_BOOT else "no"
        )


def poll(device: Device) -> DeviceSample:
    """Connect and poll.

    Raises:
        FleetError: it cannot be reached, or its answer cannot be read.
    """
    with connect(device) as shell:
        return read_sample(device, shell)


def read_sample(device: Device, shell: Shell) -> DeviceSample:
    """Poll in one round trip; the program is sent along, so that a device without a release answers too.

    Raises:
        FleetError: its answer cannot be read.
    """
    options = {"--app": device.variables.get(APP), "--state-file": device.variables.get(STATE_FILE)}
    named = [str(word) for option, value in options.items() if value for word in (option, value)]
    argv = ["--root", device.root, "--glance", *named]
    command = ["/bin/sh", "-c", SAMPLE_SCRIPT, "sh", device.python, *argv]
    answer = shell.run(command, stdin=PROBE.read_bytes(), timeout=PATIENCE_S).check(device, "looking")
    try:
        sample: dict[str, Any] = json.loads(answer.stdout)
    except ValueError:
        raise FleetError(f"answered something else: {answer.stdout[:200]!r}", where=device.name) from None
    return parse_sample(device, sample)


def parse_sample(device: Device, sample: dict[str, Any]) -> DeviceSample:
    """Return the device's JSON as a sample."""
    app: dict[str, Any] | None = sample.get("app")
    fps = app.get("fps") if app else None
    silent = sample.get("app_error") if device.variables.get(APP) else None
    return DeviceSample(
        device=device.name,
        release=sample.get("release"),
        name=sample.get("name"),
        fps=float(fps) if isinstance(fps, int | float) else None,
        app=silent if app is None else str(app.get("problem") or "well"),
        drift=_drift(app or {}),
        drift_learned=_number((app or {}).get("drift"), "learned"),
        camera=_camera(app or {}),
        uptime_s=_number(app, "uptime_s"),
        alerts=_count(app, "alerts"),
        captures=_count((app or {}).get("captures"), "held"),
        temperature_c=sample.get("temperature_c"),
        throttled=sample.get("throttled"),
        clock_mhz=sample.get("clock_mhz"),
        load_1min=sample.get("load_1min"),
        seen=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _drift(app: dict[str, Any]) -> tuple[str, ...] | None:
    match app.get("drift"):
        case {"raised": list(signals)}:
            return tuple(str(signal)[:40] for signal in signals[:10])
    return None


def _camera(app: dict[str, Any]) -> CameraMeans | None:
    match app.get("drift"):
        case {"recent": {"frames": int(frames), "means": dict(means), "classes": dict(classes)}}:
            return CameraMeans(frames=frames, means=_figures(means), classes=_figures(classes))
    return None


def _figures(table: dict[str, Any]) -> dict[str, float]:
    """Return the figures among at most MOST_FIGURES entries of what a device answered."""
    items = list(table.items())[:MOST_FIGURES]
    return {str(name)[:200]: value for name, _ in items if (value := _number(table, name)) is not None}


def _number(document: object, key: str) -> float | None:
    value = document.get(key) if isinstance(document, dict) else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _count(document: object, key: str) -> int | None:
    value = document.get(key) if isinstance(document, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


@dataclass(slots=True)
class Watch:
    """Polls the same devices repeatedly; a device that does not answer keeps its last sample."""

    devices: Sequence[Device]
    forks: int = DEFAULT_LIMIT
    poll: Callable[[Device], DeviceSample] = poll
    _last: dict[str, DeviceSample] = field(default_factory=dict)

    def round(self) -> tuple[DeviceSample, ...]:
        """Poll all devices, in the inventory's order."""
        result = fan_out(self.devices, self.poll, self.forks)
        for device, seen in result.ok.items():
            self._last[device.name] = seen
        for device, problem in result.failed.items():
            before = self._last.get(device.name, DeviceSample(device=device.name))
            self._last[device.name] = replace(before, fps=None, problem=problem.what)
        return tuple(self._last[device.name] for device in self.devices)


def ago(seen: str | None, now: float | None = None) -> str:
    """Return how long ago that was."""
    if seen is None:
        return "never"
    past = (time.time() if now is None else now) - datetime.fromisoformat(seen).timestamp()
    if past < 1.5:
        return "now"
    return (
        f"{past:.0f} s ago" if past < 90 else f"{past / 60:.0f} min ago" if past < 5400 else f"{past / 3600:.0f} h ago"
    )
