"""Monitor the camera's drift: update the detector and each day's sketch with every result, and store both on the device."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional

from ...release.store import write_atomic
from ..alerts.rules import UNKNOWN
from .detector import DriftDetector
from .drift_settings import CONFIDENCE, DISTANCE, DriftSettings
from .embedding import TrainingDistance
from .image_signals import image_signals

if TYPE_CHECKING:
    from ..pipeline.messages import Classification

FILE = "drift.json"
SAVE_S = 300.0
DAYS, MOST_CLASSES, BINS = 31, 100, 20
"""Bounds of the sketches: days, classes counted by name in each, and bins of the confidence from 0 to 1."""
OTHERS = "(others)"
RECENT_FRAMES = 100_000
"""Frames after which those before count half, in what is compared with other cameras; an hour at 28 images/s."""
Log = Callable[[str], None]
OnEvent = Callable[[str, str, "Classification"], None]
"""Called with the signal, "raised" or "cleared", and the result that ended the block."""
FindDistance = Callable[[str], Optional[TrainingDistance]]
"""Returns the distance from a release's training images; None if it says nothing of them."""


class DriftMonitor:
    """Watches results; `see` is called by the results stage, the other methods by any thread."""

    def __init__(
        self,
        settings: DriftSettings,
        log: Log,
        on_event: OnEvent,
        clock: Callable[[], float] = time.monotonic,
        find_distance: FindDistance = lambda _: None,
    ) -> None:
        self._settings, self._log, self._on_event, self._clock = settings, log, on_event, clock
        self._find_distance = find_distance
        self._distance: Optional[TrainingDistance] = None
        self._lock = threading.Lock()
        self._release = ""
        self._detector = DriftDetector(settings)
        self._days: Dict[str, Dict[str, Any]] = {}
        self._recent = RecentMeans()
        self._learn_due = 0.0
        self._save_due = clock() + SAVE_S
        self._path = settings.folder / FILE

    def see(self, result: Classification) -> None:
        """Add a result to the current block and to the sketch of the day."""
        if result.fitted is None:
            return
        if result.release != self._release:
            with self._lock:
                self._begin(result.release)
        values = {**image_signals(result.fitted), CONFIDENCE: result.ranking[0][1]}
        if self._distance is not None:
            values[DISTANCE] = self._distance.measure(result.fitted)
        label = UNKNOWN if result.unknown else result.ranking[0][0]
        with self._lock:
            self._sketch(values, label)
            self._recent.add(values, label)
            before = len(self._detector.reference)
            now = self._clock()
            events = self._detector.add(values, label, may_learn=now >= self._learn_due)
            if len(self._detector.reference) > before:
                numbers = self._settings.numbers
                self._learn_due = now + numbers.reference_hours * 3600 / numbers.reference_blocks
        for signal, event in events:
            self._log(f"drift {event}: {signal}")
            self._on_event(signal, event, result)

    def state(self) -> Dict[str, Any]:
        """Return how much of the reference is there, the deviation of each signal, and the signals that are raised."""
        with self._lock:
            detector = self._detector
            return {
                "learned": round(detector.learned, 3),
                "limit": round(detector.limit, 3),
                "deviations": {name: round(value, 3) for name, value in detector.deviations.items()},
                "raised": list(detector.raised),
                "recent": self._recent.to_json(),
            }

    def days(self) -> Dict[str, Any]:
        """Return a copy of the sketches by day."""
        with self._lock:
            days: Dict[str, Any] = json.loads(json.dumps(self._days))
            return days

    def save_if_due(self) -> None:
        """Store reference and sketches every SAVE_S seconds."""
        if self._clock() >= self._save_due:
            self._save_due = self._clock() + SAVE_S
            self.save()

    def save(self) -> None:
        """Store reference and sketches. Raises OSError if the disk takes no more; the old ones then stay."""
        with self._lock:
            if not self._release:
                return
            content = json.dumps({"release": self._release, "days": self._days, **self._detector.to_json()})
        self._settings.folder.mkdir(0o770, parents=True, exist_ok=True)
        write_atomic(self._path, content.encode())

    def _begin(self, release: str) -> None:
        """Watch another release: its reference is loaded, or learned again."""
        first, self._release = not self._release, release
        self._distance = self._find_distance(release)
        self._detector = DriftDetector(self._settings, distance=self._distance is not None)
        self._recent, self._learn_due = RecentMeans(), 0.0
        with contextlib.suppress(
            OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError
        ):  # a power cut damaged it
            content = json.loads(self._path.read_text(encoding="utf-8"))
            if first:
                self._days = _checked_days(content["days"])
            if content["release"] == release:
                self._detector.load(content)

    def _sketch(self, values: Dict[str, float], label: str) -> None:
        today = datetime.now(timezone.utc).date().isoformat()
        day = self._days.get(today)
        if day is None:
            day = self._days[today] = {"frames": 0, "classes": {}, "confidence": [0] * BINS, "sums": {}}
            for old in sorted(self._days)[:-DAYS]:
                del self._days[old]
        day["frames"] += 1
        classes = day["classes"]
        name = label if label in classes or len(classes) < MOST_CLASSES else OTHERS
        classes[name] = classes.get(name, 0) + 1
        day["confidence"][min(int(values[CONFIDENCE] * BINS), BINS - 1)] += 1
        for signal, value in values.items():
            total, squares = day["sums"].get(signal, (0.0, 0.0))
            day["sums"][signal] = [total + value, squares + value * value]


class RecentMeans:
    """Means of the signals and shares of the classes on the served release, in which older frames fade."""

    def __init__(self) -> None:
        self._frames = 0.0
        self._sums: Dict[str, float] = {}
        self._classes: Dict[str, float] = {}

    def add(self, values: Dict[str, float], label: str) -> None:
        """Add a frame."""
        name = label if label in self._classes or len(self._classes) < MOST_CLASSES else OTHERS
        self._frames += 1
        self._classes[name] = self._classes.get(name, 0.0) + 1
        for signal, value in values.items():
            self._sums[signal] = self._sums.get(signal, 0.0) + value
        if self._frames >= 2 * RECENT_FRAMES:
            self._frames /= 2
            for table in (self._sums, self._classes):
                table.update((key, value / 2) for key, value in table.items())

    def to_json(self) -> Dict[str, Any]:
        """Return {"frames", "means", "classes"}."""
        frames = self._frames or 1.0
        means = {signal: round(total / frames, 4) for signal, total in self._sums.items()}
        return {
            "frames": round(self._frames),
            "means": means,
            "classes": {name: round(count / frames, 4) for name, count in self._classes.items()},
        }


def _checked_days(days: Dict[str, Any]) -> Dict[str, Dict[str, Any]]:
    """Return stored sketches.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: they are not valid.
    """
    checked: Dict[str, Dict[str, Any]] = {}
    for day in sorted(days)[-DAYS:]:
        sketch = days[day]
        bins: List[int] = [int(count) for count in sketch["confidence"]]
        if len(bins) != BINS:
            raise ValueError("has other bins")
        sums = {str(name): [float(total), float(squares)] for name, (total, squares) in sketch["sums"].items()}
        classes = {str(name): int(count) for name, count in sketch["classes"].items()}
        checked[str(day)] = {"frames": int(sketch["frames"]), "classes": classes, "confidence": bins, "sums": sums}
    return checked
