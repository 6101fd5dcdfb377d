"""What the report says of cameras: their own past, and their peers."""

from __future__ import annotations

import pytest

from toolkit.artifacts.captured_image import CameraReading
from toolkit.experiment.schema import Experiment
from toolkit.report import write_report
from toolkit.report.data.load import load_report
from toolkit.report.tables.data_drift import cameras
from toolkit.store import Store
from toolkit.workspace import Workspace

MEANS = {"brightness": 120.0, "contrast": 50.0, "sharpness": 8.0, "distance": 1.25, "confidence": 0.9}


def _reading(
    device: str, day: int = 1, raised: tuple[str, ...] = (), learned: float = 1.0, **means: float
) -> CameraReading:
    return CameraReading(
        digest=f"{device}-{day}",
        parent="c" * 64,
        device=device,
        name="masks",
        at=f"2026-11-{day:02}T09:00:00+00:00",
        frames=5000,
        means={**MEANS, **means},
        classes={"mask": 0.75, "none": 0.25},
        raised=raised,
        learned=learned,
    )


@pytest.mark.slow
def test_report_shows_the_newest_reading_of_each_camera(
    workspace: Workspace, store: Store, experiment: Experiment
) -> None:
    for one in (
        _reading("pi-1", raised=("sharpness",)),
        _reading("pi-1", day=2),
        _reading("pi-2", raised=("brightness",)),
        _reading("pi-3", learned=0.4),
        _reading("pi-4", sharpness=2.0),
    ):
        store.put(one)
    rows = [[cell.text for cell in row] for row in cameras(load_report(workspace, store, experiment)).rows]
    assert [(row[0], row[9], row[10]) for row in rows] == [
        ("pi-1", "none", "no"),
        ("pi-2", "brightness", "no"),
        ("pi-3", "not known: reference 40 % complete", "no"),
        ("pi-4", "none", "sharpness 2, the others 8"),
    ]
    assert rows[0][2:9] == ["5,000", "120", "50.0", "8.00", "1.25", "90.0 %", "mask 75 %, none 25 %"]
    page = write_report(workspace, store, experiment=experiment).index.read_text()
    assert "Cameras, compared with their past and their peers" in page


def test_report_is_silent_without_readings(workspace: Workspace, store: Store, experiment: Experiment) -> None:
    assert cameras(load_report(workspace, store, experiment)).rows == ()
