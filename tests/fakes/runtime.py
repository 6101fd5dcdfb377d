"""A test double of `runtime.interface.load`: models that classify by brightness, and an NCS2 that can be unplugged.

host = FakeHost()        a device with an NCS2
host.ncs2 = False        unplugged: models on it fail as MYRIAD does, and it cannot be loaded again
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from toolkit.device.errors import DeviceEnvironmentError
from toolkit.device.runtime.interface import OnDone, Settings

if TYPE_CHECKING:
    from toolkit.device.runtime.interface import Answer, Image

LOST = "Failed to read output from FIFO: NC_ERROR"


class FakeHost:
    """What `load` finds; `loads` says on which accelerator each model was loaded."""

    def __init__(self, *, ncs2: bool = True) -> None:
        self.ncs2 = ncs2
        self.loads: list[str] = []

    def load(self, xml: Path, settings: Settings) -> FakeModel:
        """As `runtime.load`, for CPU and MYRIAD."""
        if settings.kind == "MYRIAD" and not self.ncs2:
            raise DeviceEnvironmentError("no Neural Compute Stick is plugged in", where="MYRIAD")
        self.loads.append(settings.kind)
        return FakeModel(self, settings, xml)


class FakeModel:
    """Two classes: [1 - brightness, brightness]."""

    runtime, version = "OpenVINO", "0.0"

    def __init__(self, host: FakeHost, settings: Settings, xml: Path) -> None:
        self.settings, self.xml = replace(settings), xml
        self.notes: list[str] = []
        self._host = host

    def infer(self, image: Image) -> Answer:
        """f32 [2]; raises DeviceEnvironmentError when the ncs2 is gone."""
        if self.settings.kind == "MYRIAD" and not self._host.ncs2:
            raise DeviceEnvironmentError(LOST, where="inference")
        brightness = np.float32(image.mean() / 255)
        return np.array([1 - brightness, brightness], np.float32)

    def queue(self, on_done: OnDone, spare: int = 0) -> FakeQueue:
        """Answers at once, on the caller's thread."""
        del spare
        return FakeQueue(self, on_done)

    def used(self) -> dict[str, Any]:
        """As little as is asked for."""
        return {"accelerator": self.settings.accelerator, "precision": "f32", "notes": list(self.notes)}

    def temperature_c(self) -> float | None:
        """A ncs2's own."""
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
