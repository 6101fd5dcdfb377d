"""What the app says of itself: one JSON object for the page, the API, the state file and the metrics."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any, Dict, List, Optional

from .. import probe
from ..errors import Failure
from ..release.manifest import read_json
from .pipeline.frame_pipeline import Pipeline
from .pipeline.messages import Result

VITALS_S = 5.0
MODELS = 64
"""So many models are offered to be switched between."""
NOW, SINCE_BOOT = 0xF, 0xF0000
"""Bits of the firmware's get_throttled."""


class Vitals:
    """Temperature and throttling, asked for every VITALS_S seconds by who keeps house, and told at once."""

    def __init__(self) -> None:
        self._due = 0.0
        self.told: Dict[str, Any] = {"temperature_c": None, "throttled": None, "stick_c": None}

    def look(self, pipeline: Pipeline) -> None:
        """Ask, if it is time."""
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + VITALS_S
        bits = probe.throttled()
        self.told = {
            "temperature_c": probe.temperature_c(),
            "stick_c": pipeline.engine.loaded.model.temperature_c(),
            "throttled": None if bits is None else {"now": bool(bits & NOW), "since_boot": bool(bits & SINCE_BOOT)},
        }


class State:
    """Puts it together."""

    def __init__(self, pipeline: Pipeline, vitals: Vitals) -> None:
        self.pipeline, self.vitals = pipeline, vitals
        self.notes: List[str] = []
        self._since = time.time()
        self._lock = threading.Lock()

    def note(self, text: str) -> None:
        """Keep what was said; the last few are shown."""
        with self._lock:
            self.notes = [*self.notes, text][-5:]

    def now(self) -> Dict[str, Any]:
        """Everything that changes."""
        pipeline, loaded = self.pipeline, self.pipeline.engine.loaded
        camera = pipeline.capture
        return {
            **identity(loaded.release, loaded.manifest),
            "accelerator": loaded.model.settings.accelerator,
            "stands_in": pipeline.engine.wants_stick and loaded.kind != "MYRIAD",
            "precision": loaded.used.get("precision"),
            "openvino": loaded.model.version,
            "source": pipeline.source_name,
            "trouble": trouble(pipeline),
            "camera": None if camera is None else camera.trouble is None,
            **pipeline.meter.summary(),
            "frames": {
                name: pipeline.counters[name] for name in ("captured", "answered", "asked", "damaged", "failed")
            },
            "dropped": sum(pipeline.dropped().values()),
            "latest": None if pipeline.latest is None else described(pipeline.latest),
            **self.vitals.told,
            "notes": list(self.notes),
            "uptime_s": round(time.time() - self._since),
        }


def identity(release: Path, manifest: Dict[str, Any]) -> Dict[str, Any]:
    """Which model it is: its release's folder, and its bundle's name."""
    return {"release": release.name, "name": str(manifest.get("name", release.name))}


def described(result: Result) -> Dict[str, Any]:
    """A result as the API tells it."""
    said = {} if result.said is None else {"labels": result.said}
    return {
        "frame": result.frame.number,
        "release": result.release,
        "ranking": [{"label": label, "probability": round(value, 6)} for label, value in result.ranking],
        "latency_ms": round(result.latency_ms, 3),
        **said,
    }


def trouble(pipeline: Pipeline) -> Optional[str]:
    """What a person should know at once; None if all is well."""
    camera = pipeline.capture
    if pipeline.engine.failing:
        return f"inference fails: {pipeline.engine.failing}"
    if camera is not None and camera.trouble is not None:
        return f"no camera: {camera.trouble}"
    return None


def models_beside(release: Path) -> List[Dict[str, Any]]:
    """The models that can be switched to: every release, or bundle, in the folder of the one that works, by name."""
    found = []
    for manifest in sorted(release.parent.glob("*/manifest.json"))[:MODELS]:
        folder = manifest.parent
        if folder.is_symlink() or not (folder / "model.xml").is_file():
            continue
        try:
            content = read_json(manifest)
        except Failure:
            continue
        found.append({**identity(folder, content), "precision": content.get("precision"), "works": folder == release})
    return sorted(found, key=lambda model: (model["name"], model["release"]))
