"""Several queries in flight on the current OpenVINO; test_legacy_openvino.py asks the same of the older ones."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import toolkit

SCRIPT = Path(__file__).with_name("in_flight.py")


def check(result: Mapping[str, Any]) -> None:
    """What holds in every era."""
    assert result["together"].pop("requests") >= 2
    assert result["together"] == {"streams": 2, "together": True, "done": True, "right": True}
    assert result["raising"] == {"raised": "'number three'", "finished": 10, "again": 10}
    assert len(result.get("failing", ["", ""])) == 2
    for message in result.get("failing", ()):
        assert message.startswith("inference: OpenVINO cannot use it on CPU: ")
        assert "Reshape" in message


@pytest.mark.slow
def test_queue_works_on_several_at_once_and_tells_failures(release: Path, failing_model: Path) -> None:
    argv = [sys.executable, SCRIPT, release / "model.xml", release / "golden/inputs.npy", failing_model]
    done = subprocess.run(
        argv, capture_output=True, text=True, check=True, env={"PYTHONPATH": str(Path(toolkit.__file__).parents[1])}
    )
    result = json.loads(done.stdout)
    check(result)
    assert result["spare"] == 1
