"""Several queries in flight on the current OpenVINO; test_eras.py asks the same of the older ones."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import toolkit

SCRIPT = Path(__file__).with_name("in_flight.py")


def check(found: Mapping[str, Any]) -> None:
    """What holds in every era."""
    assert found["together"].pop("requests") >= 2
    assert found["together"] == {"streams": 2, "together": True, "done": True, "right": True}
    assert found["raising"] == {"raised": "'number three'", "finished": 10, "again": 10}
    assert len(found.get("failing", ["", ""])) == 2
    for message in found.get("failing", ()):
        assert message.startswith("inference: OpenVINO cannot use it on CPU: ")
        assert "Reshape" in message


def test_queue_works_on_several_at_once_and_tells_failures(release: Path, failing_model: Path) -> None:
    words = [sys.executable, SCRIPT, release / "model.xml", release / "golden/inputs.npy", failing_model]
    done = subprocess.run(
        words, capture_output=True, text=True, check=True, env={"PYTHONPATH": str(Path(toolkit.__file__).parents[1])}
    )
    found = json.loads(done.stdout)
    check(found)
    assert found["spare"] == 1
