"""A stand-in for picamera2: the same calls, no camera. `install()` puts it where the real one would be imported from."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numpy as np


class Picamera2:
    """Gives gray images, each lighter than the last one; after `frames` of them its camera is gone."""

    frames = 1 << 30

    def __init__(self, camera_num: int = 0) -> None:
        if camera_num:
            raise IndexError("list index out of range")
        self._arguments = 0
        self._size = (0, 0)

    def create_video_configuration(self, main: dict[str, Any], **more: Any) -> dict[str, Any]:
        """As the real one takes it."""
        return {"main": main, **more}

    def configure(self, configuration: dict[str, Any]) -> None:
        """Only "RGB888" is known here."""
        assert configuration["main"]["format"] == "RGB888"
        self._size = configuration["main"]["size"]

    def start(self) -> None:
        """There is nothing to start."""

    def capture_array(self, name: str, wait: bool = True) -> int:
        """The number of a job that `wait` finishes."""
        assert (name, wait) == ("main", False)
        self._arguments += 1
        return self._arguments

    def wait(self, job: int, timeout: float) -> Any:
        """U8 [height, width, 3]; raises TimeoutError once the camera is gone."""
        del timeout
        if job > self.frames:
            raise TimeoutError
        width, height = self._size
        return np.full((height, width, 3), job % 256, np.uint8)

    def close(self) -> None:
        """There is nothing to close."""


def install() -> None:
    """Make `import picamera2` give this."""
    module = ModuleType("picamera2")
    module.Picamera2 = Picamera2  # type: ignore[attr-defined]  # modules take what they are given
    sys.modules["picamera2"] = module
