"""The table [drift] of the settings file: signals, reference, and rate of false alarms.

[drift]
signals = ["brightness", "contrast", "sharpness", "distance", "confidence", "classes"]
reference_hours = 24            # over which the reference is taken, after the release is first served
reference_blocks = 200          # blocks of frames in it
block_frames = 50
frames_per_false_alarm = 10000000
folder = "/srv/captures"        # default: captures in ROOT
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Iterator, List, Optional, Tuple

from ...errors import DeviceError
from ..alerts.sinks import read_fields
from ..captures.capture_settings import captures_folder
from ..settings_file import read_settings_file

TABLE = "drift"
BRIGHTNESS, CONTRAST, SHARPNESS, CONFIDENCE, CLASSES = "brightness", "contrast", "sharpness", "confidence", "classes"
DISTANCE = "distance"
"""From the training images; not watched where the release says nothing of them."""
SIGNALS = (BRIGHTNESS, CONTRAST, SHARPNESS, DISTANCE, CONFIDENCE, CLASSES)


@dataclass(frozen=True)
class DriftNumbers:
    """The numbers of [drift], each a plain value of the file."""

    reference_hours: float = 24.0
    reference_blocks: int = 200
    block_frames: int = 50
    frames_per_false_alarm: int = 10_000_000
    folder: str = ""

    def problems(self) -> Iterator[str]:
        """Yield the fields that are not valid, with the reason."""
        if not 0 <= self.reference_hours <= 24 * 30:
            yield f"reference_hours: {self.reference_hours} is not from 0 to 720"
        if not 20 <= self.reference_blocks <= 2000:
            yield f"reference_blocks: {self.reference_blocks} is not from 20 to 2000"
        if not 10 <= self.block_frames <= 10_000:
            yield f"block_frames: {self.block_frames} is not from 10 to 10000"
        if not 10 * self.block_frames <= self.frames_per_false_alarm <= 10**12:
            yield f"frames_per_false_alarm: {self.frames_per_false_alarm} is not from ten blocks to 10^12"


@dataclass(frozen=True)
class DriftSettings:
    """All of [drift]."""

    folder: Path
    numbers: DriftNumbers = DriftNumbers()
    signals: Tuple[str, ...] = SIGNALS


def read_drift_settings(path: Optional[Path], release: Path) -> Optional[DriftSettings]:
    """Return the settings of the file; None without a file, or if it has no [drift].

    Raises:
        DeviceError: the file cannot be read or is not valid; names every problem.
    """
    table = None if path is None else read_settings_file(path).get(TABLE)
    if table is None:
        return None
    problems: List[str] = []
    settings = _read_table(table, release, problems)
    if problems or settings is None:
        raise DeviceError("; ".join(problems), where=str(path), remedy="docs/guides/capture.md has an example")
    return settings


def _read_table(table: Any, release: Path, problems: List[str]) -> Optional[DriftSettings]:
    own = dict(table) if isinstance(table, dict) else table
    signals = own.pop("signals", list(SIGNALS)) if isinstance(own, dict) else []
    if not isinstance(signals, list) or not signals or not all(signal in SIGNALS for signal in signals):
        problems.append(f"{TABLE}.signals: is not a list of {', '.join(SIGNALS)}")
    numbers = read_fields(DriftNumbers, own, TABLE, problems)
    if numbers is None:
        return None
    problems += [f"{TABLE}.{problem}" for problem in numbers.problems()]
    folder = captures_folder(numbers.folder, release, TABLE, problems)
    return replace(DriftSettings(folder, numbers), signals=tuple(signals))
