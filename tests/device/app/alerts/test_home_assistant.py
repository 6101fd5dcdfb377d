"""Home Assistant's own schemas accept the discovery messages, in an environment of their own (`just test-homeassistant`)."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from toolkit.device.app.alerts.home_assistant import PREFIX, Topics, configurations

pytestmark = pytest.mark.homeassistant

PYTHON = Path(__file__).parents[4] / ".venv-homeassistant/bin/python"
VALIDATE = """
import json, sys
from importlib import import_module
for topic, payload in json.load(sys.stdin):
    schema = import_module("homeassistant.components.mqtt." + topic.split("/")[1]).DISCOVERY_SCHEMA
    try:
        print(json.dumps(sorted({*payload} - {*schema(payload)})))
    except Exception as error:
        print(json.dumps(f"{type(error).__name__}: {error}"))
"""


def dropped(messages: list[tuple[str, dict[str, Any]]]) -> list[Any]:
    """Return the keys of each message that its schema does not know, or why it refuses the message."""
    done = subprocess.run(
        [PYTHON, "-c", VALIDATE], input=json.dumps(messages), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_schemas_know_every_key_of_every_entity() -> None:
    topics = Topics("door/state", "door/image", "door/availability")
    messages = [(topic, json.loads(payload)) for topic, payload in configurations(PREFIX, topics, "edge_vision_1")]
    assert dropped(messages) == [[]] * len(messages)
    (topic, sensor), *_ = messages
    broken = [sensor | {"paint": "red"}, sensor | {"state_topic": ""}, sensor | {"device_class": "mood"}]
    unknown, nowhere, kind = dropped([(topic, each) for each in broken])
    assert unknown == ["paint"], "the schema drops what it does not know"
    assert "state_topic" in nowhere
    assert "device_class" in kind
