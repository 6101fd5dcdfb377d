"""Captures in the whole app, as a process: settings, API, counters, and the files on the device."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toolkit.convert.training_embedding import describe_images
from toolkit.device.app.drift.embedding import KEY
from toolkit.device.capture_record import read_record
from toolkit.hashing import sha256_file

from .conftest import Serve
from .test_serve import until


def settings(folder: Path, **table: Any) -> Path:
    path = folder / "settings.json"
    path.write_text(json.dumps({"capture": {"reserve_mib": 0, **table}}))
    return path


@pytest.mark.slow
def test_app_captures_on_request_and_by_chance(serve: Serve, root: Path, tmp_path: Path) -> None:
    table = settings(tmp_path, policies=["requested", "random"], random_every=5)
    app = serve(root / "current", "--fps", "50", "--capture", table)
    until(lambda: app.ask("/v1/state").json["captures"]["stored"] >= 3)
    assert app.ask("/v1/capture", "POST").status == 202
    until(lambda: '"requested"' in "".join(file.read_text() for file in root.glob("captures/*/*.json")))
    counters = app.ask("/health").json["captures"]
    assert counters["held"] >= 4
    assert "problem" not in counters
    metrics = app.ask("/metrics").body.decode()
    assert 'toolkit_app_captures_total{result="stored"}' in metrics
    assert "toolkit_app_captures_up 1.0" in metrics
    code, answer, _ = app.end()
    assert (code, answer["ok"]) == (0, True)
    for image in root.glob("captures/*/*.jpg"):
        record = read_record(image.with_suffix(".json").read_bytes(), image.stem)
        assert (record.release, record.camera) == ("a" * 64, "test pattern")
        assert record.label in {"dark", "light"}
        assert abs(sum(record.probabilities) - 1) < 1e-3
    assert not [*root.glob("captures/*/.*")]
    assert (root / "captures").stat().st_mode & 0o007 == 0


@pytest.mark.slow
def test_a_killed_app_leaves_whole_captures(serve: Serve, root: Path, tmp_path: Path) -> None:
    """Killed while it stores every frame, five times at another moment; the next start removes what is not whole."""
    table = settings(tmp_path, policies=["random"], random_every=1)
    held = 0
    for number in range(5):
        app = serve(root / "current", "--fps", "100", "--capture", table)
        until(lambda app=app, before=held: app.ask("/health").json["captures"]["held"] > before)  # type: ignore[misc]
        time.sleep(0.007 * number)
        app.process.kill()
        app.process.communicate()
        held = len([*root.glob("captures/*/*.json")])
    app = serve(root / "current", "--source", "none", "--capture", table)
    until(lambda: app.ask("/health").json["captures"]["held"])
    app.end()
    images, documents = ({path.stem for path in root.glob(f"captures/*/*{kind}")} for kind in (".jpg", ".json"))
    assert images == documents
    assert not [*root.glob("captures/*/.*")]
    for image in root.glob("captures/*/*.jpg"):
        assert sha256_file(image) == image.stem
        read_record(image.with_suffix(".json").read_bytes(), image.stem)


def test_captures_are_off_by_default(serve: Serve, root: Path) -> None:
    app = serve(root / "current", "--source", "none")
    assert app.ask("/v1/state").json["captures"] is None
    assert app.ask("/health").json == {"ok": True}
    refused = app.ask("/v1/capture", "POST")
    assert (refused.status, refused.json["error"]["what"]) == (409, "captures on request are off")
    assert "captures" not in app.ask("/metrics").body.decode()
    assert app.ask("/v1/state").json["drift"] is None
    assert app.ask("/v1/drift").status == 404
    assert not (root / "captures").exists()


@pytest.mark.parametrize("table", [{"policies": ["never"]}, {"most": 0}])
def test_app_refuses_settings_that_are_not_valid(
    serve: Serve, root: Path, tmp_path: Path, table: dict[str, Any]
) -> None:
    with pytest.raises(AssertionError, match=r"settings\.json"):
        serve(root / "current", "--capture", settings(tmp_path, **table))


def test_an_alert_captures_its_frame(serve: Serve, root: Path, tmp_path: Path) -> None:
    alerts = tmp_path / "alerts.json"
    rules = [{"name": label, "label": label, "above": 0.1, "frames": 3} for label in ("dark", "light")]
    alerts.write_text(json.dumps({"alert": rules, "webhook": {"url": "http://127.0.0.1:9/"}}))
    table = settings(tmp_path, policies=["requested"])
    app = serve(root / "current", "--fps", "50", "--alerts", alerts, "--capture", table)
    until(lambda: app.ask("/v1/state").json["captures"]["stored"])
    app.end()
    assert len([*root.glob("captures/*/*.jpg")]) >= 1


@pytest.mark.slow
def test_app_watches_drift(serve: Serve, root: Path, tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text(json.dumps({"drift": {"reference_hours": 0, "reference_blocks": 20, "block_frames": 10}}))
    manifest = root / "current" / "manifest.json"
    figures = describe_images(np.random.default_rng(1).integers(0, 255, (60, 32, 32, 3), np.uint8))
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), KEY: figures}))
    app = serve(root / "current", "--fps", "100", "--capture", path)
    until(lambda: app.ask("/v1/state").json["drift"]["deviations"])
    drift = app.ask("/v1/drift").json
    assert drift["learned"] == 1
    assert {*drift["deviations"]} == {"brightness", "contrast", "sharpness", "distance", "confidence", "classes"}
    ((_, sketch),) = drift["days"].items()
    assert {*sketch["classes"]} <= {"dark", "light"}
    assert 'toolkit_app_drift_raised{signal="sharpness"}' in app.ask("/metrics").body.decode()
    assert "toolkit_app_drift_training_distance" in app.ask("/metrics").body.decode()
    app.end()
    assert (root / "captures" / "drift.json").is_file()
