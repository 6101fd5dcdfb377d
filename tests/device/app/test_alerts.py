"""Alert files with regions, recordings and a trigger, in the whole app."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from .conftest import Serve

pytestmark = pytest.mark.slow


def until(condition: Any) -> Any:
    deadline = time.monotonic() + 60
    while not (result := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return result


def test_a_region_raises_an_alert_that_is_recorded(serve: Serve, root: Path, tmp_path: Path) -> None:
    camera, recorded = tmp_path / "camera", tmp_path / "recorded"
    camera.mkdir()
    for number in range(40):
        image = np.full((60, 80, 3), 10, np.uint8)
        if number >= 20:
            image[:, 60:] = 250  # the whole image is dark all the same
        cv2.imwrite(str(camera / f"{number:03}.png"), image)
    rule = {"label": "light", "frames": 2, "above": 0.7, "below": 0.3, "quiet_s": 3600}
    alerts = [
        {**rule, "name": "right", "region": [0.75, 0, 1, 1]},
        {**rule, "name": "left", "region": [0, 0, 0.75, 1]},
        {**rule, "name": "all"},
    ]
    settings = {"folder": str(recorded), "before_s": 1, "after_s": 0.5, "fps": 10, "reserve_mib": 1}
    (tmp_path / "alerts.json").write_text(json.dumps({"alert": alerts, "recordings": settings}))
    app = serve(root / "current", "--source", camera, "--fps", "10", "--alerts", tmp_path / "alerts.json")
    (clip,) = until(lambda: [*recorded.glob("[!.]*.avi")])
    code, totals, log = app.end()
    assert (code, totals["ok"]) == (0, True), log
    assert [path.stem.partition("-")[2] for path in recorded.glob("*.json")] == ["right"]
    message = json.loads(clip.with_suffix(".json").read_text())
    assert (message["alert"], message["event"], message["label"]) == ("right", "raised", "light")
    assert cv2.imread(str(clip.with_suffix(".jpg")))[:, 62:].mean() > 230
    video = cv2.VideoCapture(str(clip), cv2.CAP_OPENCV_MJPEG)
    assert video.read()[1][:, 62:].mean() < 30, "the clip begins before the alert"


def test_a_trigger_leaves_most_frames_of_a_still_scene(serve: Serve, root: Path, tmp_path: Path) -> None:
    camera = tmp_path / "camera"
    camera.mkdir()
    cv2.imwrite(str(camera / "still.png"), np.full((60, 80, 3), 10, np.uint8))
    (tmp_path / "alerts.json").write_text(json.dumps({"trigger": {"motion": 0.05, "hold_s": 0, "interval_s": 1}}))
    app = serve(root / "current", "--source", camera, "--fps", "50", "--alerts", tmp_path / "alerts.json")
    frames = until(lambda: (state := app.ask("/v1/state").json["frames"])["skipped"] > 100 and state)
    assert 1 <= frames["answered"] <= frames["captured"] / 10
    assert app.end()[0] == 0
