"""State of the app as one JSON object, for the page, the API, the state file and the metrics."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

from .. import probe
from ..errors import DeviceError
from ..layout import MANIFEST, model_file
from ..release.manifest import read_json
from ..runtime.accelerators import is_removable
from .pipeline.frame_pipeline import FramePipeline
from .pipeline.messages import Classification, now_ns

HARDWARE_INTERVAL_S = 5.0
MODELS = 64
"""Most models that are listed."""
NOW, SINCE_BOOT = 0xF, 0xF0000
"""Bits of the firmware's get_throttled."""


class HardwareStats:
    """Temperature and throttling, read every HARDWARE_INTERVAL_S seconds by the supervisor."""

    def __init__(self) -> None:
        self._due = 0.0
        self.readings: Dict[str, Any] = {"temperature_c": None, "throttled": None, "accelerator_temperature_c": None}

    def refresh(self, pipeline: FramePipeline) -> None:
        """Read the sensors if the interval has passed."""
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + HARDWARE_INTERVAL_S
        bits = probe.throttled()
        self.readings = {
            "temperature_c": probe.temperature_c(),
            "accelerator_temperature_c": pipeline.worker.loaded.model.temperature_c(),
            "throttled": None if bits is None else {"now": bool(bits & NOW), "since_boot": bool(bits & SINCE_BOOT)},
        }


class StatusReport:
    """Collects the state of the app."""

    def __init__(self, pipeline: FramePipeline, hardware: HardwareStats) -> None:
        self.pipeline, self.hardware = pipeline, hardware
        self.notes: List[str] = []
        self.sinks: Callable[[], List[Dict[str, Any]]] = list
        """Returns the name and problem of each alert sink."""
        self.alerts: Callable[[], int] = lambda: 0
        """Returns the number of alerts raised since the start."""
        self.captures: Callable[[], Optional[Dict[str, Any]]] = lambda: None
        """Returns the counters of captures; None while they are off."""
        self.drift: Callable[[], Optional[Dict[str, Any]]] = lambda: None
        """Returns the state of drift detection; None while it is off."""
        self.drift_days: Callable[[], Dict[str, Any]] = dict
        """Returns the sketches by day."""
        self.ask_capture: Callable[[], bool] = lambda: False
        """Captures the next result; returns False if captures on request are off."""
        self._since = time.time()
        self._lock = threading.Lock()

    def note(self, text: str) -> None:
        """Add a message; the last five are shown."""
        with self._lock:
            self.notes = [*self.notes, text][-5:]

    def now(self) -> Dict[str, Any]:
        """Return the current state."""
        pipeline, loaded = self.pipeline, self.pipeline.worker.loaded
        camera = pipeline.capture
        return {
            **identity(loaded.release, loaded.manifest),
            "accelerator": loaded.model.settings.accelerator,
            "cpu_fallback": pipeline.worker.prefers_removable and not is_removable(loaded.kind),
            "precision": loaded.used.get("precision"),
            "runtime": f"{loaded.model.runtime} {loaded.model.version}",
            "source": pipeline.source_name,
            "problem": current_problem(pipeline),
            "camera": None if camera is None else camera.problem is None,
            **pipeline.meter.summary(),
            "frames": {
                name: pipeline.counters[name]
                for name in ("captured", "answered", "requested", "damaged", "failed", "skipped")
            },
            "dropped": sum(pipeline.dropped().values()),
            "latest": None if pipeline.latest is None else result_to_json(pipeline.latest),
            **self.hardware.readings,
            "alerts": self.alerts(),
            "alert_sinks": self.sinks(),
            "captures": self.captures(),
            "drift": self.drift(),
            "notes": list(self.notes),
            "uptime_s": round(time.time() - self._since),
        }


def identity(release: Path, manifest: Dict[str, Any]) -> Dict[str, Any]:
    """Return the name of the release's folder and of its bundle."""
    return {"release": release.name, "name": str(manifest.get("name", release.name))}


def result_to_json(result: Classification) -> Dict[str, Any]:
    """Return a result as the API shows it."""
    labels = {} if result.labels is None else {"labels": result.labels}
    unknown = {} if result.unknown is None else {"unknown": result.unknown}
    return {
        "frame": result.frame.number,
        "release": result.release,
        "ranking": [{"label": label, "probability": round(value, 6)} for label, value in result.ranking],
        "latency_ms": round(result.latency_ms, 3),
        "age_s": round((now_ns() - result.frame.captured_ns) / 1e9, 3),
        **labels,
        **unknown,
    }


def current_problem(pipeline: FramePipeline) -> Optional[str]:
    """Return the current problem with inference or the camera; None if there is none."""
    camera = pipeline.capture
    if pipeline.worker.failing:
        return f"inference fails: {pipeline.worker.failing}"
    if camera is not None and camera.problem is not None:
        return f"no camera: {camera.problem}"
    return None


def list_models(release: Path) -> List[Dict[str, Any]]:
    """Return the models to switch to, by name: the releases and bundles next to the loaded one."""
    models = []
    for manifest in sorted(release.parent.glob(f"*/{MANIFEST}"))[:MODELS]:
        folder = manifest.parent
        if folder.is_symlink() or not model_file(folder).is_file():
            continue
        try:
            content = read_json(manifest)
        except DeviceError:
            continue
        models.append({**identity(folder, content), "precision": content.get("precision"), "active": folder == release})
    return sorted(models, key=lambda model: (model["name"], model["release"]))
