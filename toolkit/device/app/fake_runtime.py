"""A stand-in for `runtime.load`: models that answer by the image's brightness, and a stick that can be pulled out.

    bench = Bench()              a place with a stick in it
    bench.stick = False          pulled out: whatever works on it fails as MYRIAD does, and it can be loaded no more

Nothing of it is used on a device.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional

import numpy as np

from ..errors import EnvironmentFailure
from ..runtime.interface import OnDone, Settings

if TYPE_CHECKING:
    from ..runtime.interface import Answer, Image

LOST = "Failed to read output from FIFO: NC_ERROR"


class Bench:
    """What `load` finds; `loads` says on which accelerator each model was loaded."""

    def __init__(self, *, stick: bool = True) -> None:
        self.stick = stick
        self.loads: List[str] = []

    def load(self, xml: Path, settings: Settings) -> FakeModel:
        """As `runtime.load`, for CPU and MYRIAD."""
        if settings.kind == "MYRIAD" and not self.stick:
            raise EnvironmentFailure("no Neural Compute Stick is plugged in", where="MYRIAD")
        self.loads.append(settings.kind)
        return FakeModel(self, settings, xml)


class FakeModel:
    """Two classes: [1 - brightness, brightness]."""

    version = "0.0"

    def __init__(self, bench: Bench, settings: Settings, xml: Path) -> None:
        self.settings, self.xml = replace(settings), xml
        self.notes: List[str] = []
        self._bench = bench

    def infer(self, image: Image) -> Answer:
        """f32 [2]; raises EnvironmentFailure when the stick is gone."""
        if self.settings.kind == "MYRIAD" and not self._bench.stick:
            raise EnvironmentFailure(LOST, where="inference")
        brightness = np.float32(image.mean() / 255)
        return np.array([1 - brightness, brightness], np.float32)

    def queue(self, on_done: OnDone, spare: int = 0) -> FakeQueue:
        """Answers at once, on the caller's thread."""
        del spare
        return FakeQueue(self, on_done)

    def used(self) -> Dict[str, Any]:
        """As little as is asked for."""
        return {"accelerator": self.settings.accelerator, "precision": "f32", "notes": list(self.notes)}

    def temperature_c(self) -> Optional[float]:
        """A stick's own."""
        return 40.0 if self.settings.kind == "MYRIAD" else None


class FakeQueue:
    """One query at a time."""

    requests = 2

    def __init__(self, model: FakeModel, on_done: OnDone) -> None:
        self._model, self._on_done = model, on_done
        self._lock = threading.Lock()

    def submit(self, number: int, image: Image) -> None:
        """Answer it."""
        with self._lock:
            answer = self._model.infer(image)
            self._on_done(number, lambda: answer)

    def wait(self) -> None:
        """Nothing is ever in flight."""

    def close(self) -> None:
        """As the real ones: what was to be called is forgotten."""
        self._on_done = _ignore


def _ignore(number: int, answer: Callable[[], Answer]) -> None:
    """Nobody waits for it."""
