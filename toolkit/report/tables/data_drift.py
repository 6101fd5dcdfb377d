"""Table of data drift: each camera against its own past and against its peers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from toolkit.analysis.camera_peers import CameraOutlier, outliers_by_device
from toolkit.artifacts.captured_image import CameraReading
from toolkit.fleet.watch import CameraMeans, DeviceSample
from toolkit.report import formatting
from toolkit.report.data.load import ReportData
from toolkit.report.tables.results_tables import Cell, Table, table

SIGNALS = ("brightness", "contrast", "sharpness")
MOST_ANSWERS = 3


def cameras(report: ReportData) -> Table:
    """Return the newest reading of each camera, by device."""
    columns = (
        "Device",
        "Release",
        "#Frames",
        *(f"#{signal.capitalize()}" for signal in SIGNALS),
        "#Distance from training",
        "#Confidence",
        "Most frequent answers",
        "Drift from its own past",
        "Unlike its peers",
        "Read",
    )
    outliers = outliers_by_device([_sample(reading) for reading in report.cameras])
    readings = sorted(report.cameras, key=lambda reading: reading.device)
    return table(
        "Cameras, compared with their past and their peers",
        columns,
        (_row(one, outliers.get(one.device, ())) for one in readings),
    )


def _sample(reading: CameraReading) -> DeviceSample:
    camera = CameraMeans(frames=reading.frames, means=reading.means, classes=reading.classes)
    return DeviceSample(device=reading.device, release=reading.parent, camera=camera)


def _row(reading: CameraReading, outliers: Sequence[CameraOutlier]) -> Iterator[Cell | str]:
    yield reading.device
    yield Cell(f"{reading.name} {reading.parent[:12]}".strip(), style="mono")
    yield f"{reading.frames:,}"
    for signal in SIGNALS:
        yield formatting.number(reading.means.get(signal))
    yield formatting.number(reading.means.get("distance"))
    yield formatting.percent(reading.means.get("confidence"))
    shares = sorted(reading.classes.items(), key=lambda item: (-item[1], item[0]))[:MOST_ANSWERS]
    yield ", ".join(f"{formatting.shortened(label)} {formatting.percent(share, 0)}" for label, share in shares)
    if reading.raised:
        yield Cell(", ".join(reading.raised), style="bad")
    elif reading.learned < 1:
        yield Cell(f"not known: reference {formatting.percent(reading.learned, 0)} complete", style="quiet")
    else:
        yield Cell("none", style="good")
    yield Cell("; ".join(one.text for one in outliers), style="bad") if outliers else Cell("no", style="quiet")
    yield formatting.date(reading.at)
