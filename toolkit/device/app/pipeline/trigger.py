"""The table [trigger] of the alert file: which frames are classified, to save CPU time.

    [trigger]
    motion = 0.01           # while at least this part of the image changes
    hold_s = 5              # and so many seconds longer
    interval_s = 10         # and one frame in so many seconds, whatever it shows
    region = [0, 0.5, 1, 1] # where motion counts: left, top, right, bottom in parts of the image

Without `motion`, only the interval counts. A change is one against the mean of the last seconds, so that something that
stays becomes part of the scene.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Iterator, List, Optional

import cv2
import numpy as np

from ..regions import read_region

if TYPE_CHECKING:
    import numpy.typing as npt

    from .messages import Frame

SIZE = (64, 36)
"""Width and height in pixels at which images are compared."""
LEVELS = 20
"""Difference of brightness, of 255, from which on a pixel counts as changed; noise of a camera in the dark is below it."""
MEMORY_S = 4.0
"""Time constant of the mean that frames are compared with."""


@dataclass(frozen=True)
class TriggerSettings:
    """The values of [trigger]."""

    motion: float = 0.0
    hold_s: float = 2.0
    interval_s: float = 0.0
    region: Optional[List[float]] = None

    def problems(self) -> Iterator[str]:
        """Yield the fields that are not valid, with the reason."""
        if not 0 <= self.motion <= 1:
            yield f"motion: {self.motion} is not a part of the image from 0 to 1"
        for name in ("hold_s", "interval_s"):
            if not 0 <= getattr(self, name) <= 86_400:
                yield f"{name}: {getattr(self, name)} is not from 0 to 86400 seconds"
        if not self.motion and not self.interval_s:
            yield "motion or interval_s: is missing"
        if self.region is not None:
            try:
                read_region(self.region)
            except ValueError as error:
                yield f"region: {error}"


class Trigger:
    """Decides for each frame whether it is classified; thread-safe."""

    def __init__(self, settings: TriggerSettings) -> None:
        self._settings, self._lock = settings, threading.Lock()
        self._region = None if settings.region is None else read_region(settings.region)
        self._mean: Optional[npt.NDArray[np.float32]] = None
        self._seen_ns = 0
        self._until_ns = self._due_ns = 0

    def wants(self, frame: Frame) -> bool:
        """Return whether to classify this frame; the first one always is, and one that cannot be decoded."""
        with self._lock:
            now = frame.captured_ns
            if self._settings.motion and self._moves(frame):
                self._until_ns = now + round(self._settings.hold_s * 1e9)
            is_due = self._settings.interval_s > 0 and now >= self._due_ns
            if not (is_due or now <= self._until_ns):
                return False
            self._due_ns = now + round(self._settings.interval_s * 1e9)
            return True

    def _moves(self, frame: Frame) -> bool:
        """Compare the frame with the mean of those before, and add it to that."""
        image = _small(frame)
        if image is None:
            return True
        if self._region is not None:
            image = self._region.cut(image)
        small = cv2.resize(image, SIZE, interpolation=cv2.INTER_AREA).astype(np.float32)
        if self._mean is None:
            self._mean, self._seen_ns = small, frame.captured_ns
            return True
        changed = float(np.mean(np.abs(small - self._mean) > LEVELS))
        elapsed_s = max(frame.captured_ns - self._seen_ns, 0) / 1e9
        self._mean += (small - self._mean) * (1 - np.exp(np.float32(-elapsed_s / MEMORY_S)))
        self._seen_ns = frame.captured_ns
        return changed >= self._settings.motion


def _small(frame: Frame) -> Optional[npt.NDArray[np.uint8]]:
    """Return the frame in gray, a JPEG at an eighth of its size; None if it cannot be decoded."""
    try:
        if frame.pixels is not None:
            step = max(1, frame.pixels.shape[1] // (4 * SIZE[0]))
            gray = cv2.cvtColor(np.ascontiguousarray(frame.pixels[::step, ::step]), cv2.COLOR_BGR2GRAY)
        else:
            gray = cv2.imdecode(np.frombuffer(frame.jpeg or b"", np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_8)
    except cv2.error:
        return None
    return gray  # type: ignore[no-any-return]  # OpenCV has no types
