"""The Raspberry Pi camera, through picamera2, a package of Raspberry Pi OS that is imported only when it is used."""

from __future__ import annotations

import importlib
from concurrent import futures
from typing import Any, Optional

from .base import CaptureOptions, RawFrame, SourceLost

TIMEOUT_S = 5.0


class RaspberryPiCamera:
    """One camera at a connector of the board."""

    live = True
    fps: Optional[float] = None

    def __init__(self, number: int, options: CaptureOptions) -> None:
        self.name, self._number, self._options = f"picamera:{number}", number, options
        self._camera: Any = None

    def open(self) -> None:
        """See Source."""
        try:
            module = importlib.import_module("picamera2")
        except ImportError as error:
            raise SourceLost(f"picamera2 cannot be imported ({error}): apt-get install python3-picamera2") from None
        try:
            self._camera = module.Picamera2(self._number)
            self._start()
        except (IndexError, RuntimeError, OSError) as error:
            self.close()
            raise SourceLost(f"cannot be opened: {error}") from None

    def _start(self) -> None:
        """Configure and start the camera; the bytes of RGB888 in libcamera are blue, green, red."""
        options = self._options
        main = {"size": (options.width, options.height), "format": "RGB888"}
        configuration = self._camera.create_video_configuration(
            main=main, controls={"FrameRate": options.fps}, buffer_count=4
        )
        self._camera.configure(configuration)
        self._camera.start()

    def read(self) -> RawFrame:
        """See Source."""
        try:
            job = self._camera.capture_array("main", wait=False)
            frame: RawFrame = self._camera.wait(job, timeout=TIMEOUT_S)
        except (RuntimeError, OSError, TimeoutError, futures.TimeoutError) as error:
            raise SourceLost(f"gives no more frames: {str(error) or type(error).__name__}") from None
        return frame

    def close(self) -> None:
        """See Source."""
        if self._camera is not None:
            self._camera.close()
            self._camera = None
