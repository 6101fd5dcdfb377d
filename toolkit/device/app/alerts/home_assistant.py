"""Home Assistant's MQTT discovery: configurations from which it creates a device with its entities.

A configuration is retained at PREFIX/COMPONENT/DEVICE/OBJECT/config (Home Assistant documentation, "MQTT discovery").
"""

from __future__ import annotations

import hashlib
import json
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, Optional, Tuple

from ... import probe

PREFIX = "homeassistant"
"""The prefix that Home Assistant listens to unless it is configured otherwise."""
_SENSORS: Dict[str, Dict[str, Any]] = {
    "label": {"name": "Class", "icon": "mdi:image-search"},
    "probability": {"name": "Probability", "unit_of_measurement": "%", "state_class": "measurement"},
    "fps": {"name": "Frame rate", "unit_of_measurement": "fps", "state_class": "measurement"},
    "temperature": {
        "name": "Temperature",
        "device_class": "temperature",
        "unit_of_measurement": "°C",
        "state_class": "measurement",
        "entity_category": "diagnostic",
    },
    "release": {"name": "Release", "entity_category": "diagnostic"},
    "problem": {"name": "Problem", "entity_category": "diagnostic"},
}


@dataclass(frozen=True)
class Topics:
    """The topics that the entities read; `image` holds a JPEG, an empty `availability` is not published."""

    state: str
    image: str
    availability: str


def device_id() -> str:
    """Return an identifier of this machine that stays the same and does not reveal its machine ID."""
    path = Path("/etc/machine-id")
    machine = path.read_text("ascii") if path.exists() else socket.gethostname()
    return "edge_vision_" + hashlib.sha256(machine.encode()).hexdigest()[:12]


def configurations(prefix: str, topics: Topics, device: Optional[str] = None) -> Iterator[Tuple[str, bytes]]:
    """Yield (topic, JSON) of each entity of `device`; by default of this machine."""
    device = device or device_id()
    common: Dict[str, Any] = {
        "device": {
            "identifiers": [device],
            "name": socket.gethostname(),
            "manufacturer": "Edge Vision Toolkit",
            "model": probe.board_model() or "unknown",
        },
    }
    if topics.availability:
        common["availability_topic"] = topics.availability
    for key, entity in _SENSORS.items():
        template = {"state_topic": topics.state, "value_template": f"{{{{ value_json.{key} }}}}"}
        yield _entity(prefix, "sensor", device, key, {**common, **entity, **template})
    image = {"name": "Alert", "image_topic": topics.image, "content_type": "image/jpeg"}
    yield _entity(prefix, "image", device, "image", {**common, **image})


def _entity(prefix: str, component: str, device: str, key: str, content: Dict[str, Any]) -> Tuple[str, bytes]:
    content["unique_id"] = f"{device}_{key}"
    return f"{prefix}/{component}/{device}/{key}/config", json.dumps(content, ensure_ascii=False).encode()


def summary(state: Dict[str, Any]) -> Dict[str, Any]:
    """Return what the sensors read, from the state of the app (`StatusReport.now`); the probability is in percent."""
    latest = state["latest"] or {"ranking": []}
    best = latest["ranking"][0] if latest["ranking"] else {"label": None, "probability": None}
    return {
        "label": "unknown" if latest.get("unknown") else best["label"],
        "probability": None if best["probability"] is None else round(100 * best["probability"], 1),
        "fps": state["fps"],
        "temperature": state["temperature_c"],
        "release": state["name"],
        "problem": state["problem"] or "none",
    }
