"""Sources that OpenCV reads: Video4Linux cameras, video files, network cameras."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Optional, Sequence

import cv2

from .base import CaptureOptions, RawFrame, SourceLost, redact_address
from .diagnosis import explain_file, explain_rtsp

TIMEOUT_MS = 5000
MOST_FPS = 1000.0
"""Largest rate of a video file that is believed."""
_MJPG = cv2.VideoWriter.fourcc(*"MJPG")
# RTP over TCP: a lost datagram would spoil every frame up to the next key frame.
_FFMPEG = "rtsp_transport;tcp"


class _OpenCvSource:
    """Base class: wraps a cv2.VideoCapture, which gives no reason when it fails to open or ends."""

    def __init__(self, name: str, *, live: bool) -> None:
        self.name, self.live = name, live
        self.fps: Optional[float] = None
        self._capture: Any = None

    def _open(self, what: str, api: int, settings: Sequence[int] = ()) -> None:
        self.close()
        capture = cv2.VideoCapture(what, api, list(settings)) if settings else cv2.VideoCapture(what, api)
        if not capture.isOpened():
            capture.release()
            raise SourceLost("cannot be opened")
        self._capture = capture

    def read(self) -> RawFrame:
        """See Source."""
        there, image = self._capture.read()
        if not there or image is None or not image.size:
            raise SourceLost("gives no more frames")
        frame: RawFrame = image
        return frame

    def close(self) -> None:
        """See Source."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None


class Camera(_OpenCvSource):
    """A Video4Linux camera; frames that it compresses are passed on as JPEG and decoded by the decode stage."""

    def __init__(self, path: str, options: CaptureOptions) -> None:
        super().__init__(path, live=True)
        self._options = options
        self._compressed = False

    def open(self) -> None:
        """See Source."""
        if not Path(self.name).exists():
            raise SourceLost("is not there")
        self._open(self.name, cv2.CAP_V4L2)
        for name, value in (
            (cv2.CAP_PROP_FOURCC, _MJPG),
            (cv2.CAP_PROP_FRAME_WIDTH, self._options.width),
            (cv2.CAP_PROP_FRAME_HEIGHT, self._options.height),
            (cv2.CAP_PROP_FPS, self._options.fps),
            (cv2.CAP_PROP_BUFFERSIZE, 2),
        ):
            self._capture.set(name, value)
        self._compressed = int(self._capture.get(cv2.CAP_PROP_FOURCC)) == _MJPG
        self._capture.set(cv2.CAP_PROP_CONVERT_RGB, 0 if self._compressed else 1)

    def read(self) -> RawFrame:
        """See Source."""
        frame = super().read()
        if self._compressed and not isinstance(frame, bytes) and frame.ndim != 3:
            return frame.tobytes()
        return frame


class VideoFile(_OpenCvSource):
    """A video file, repeated at its own pace; frames beyond the requested rate are left out."""

    def __init__(self, path: Path, fps: float) -> None:
        super().__init__(str(path), live=False)
        self._most_fps = fps
        self._step = 1.0
        """Frames of the file for each frame that is read."""
        self._due = 0.0

    def open(self) -> None:
        """See Source."""
        try:
            self._open(self.name, cv2.CAP_ANY)
        except SourceLost:
            raise SourceLost(explain_file(Path(self.name))) from None
        self._due = 0.0
        own = self._capture.get(cv2.CAP_PROP_FPS)
        if self._most_fps and 0 < own <= MOST_FPS:
            self.fps = min(own, self._most_fps)
            self._step = own / self.fps

    def read(self) -> RawFrame:
        """See Source."""
        try:
            return self._next()
        except SourceLost:
            self.open()
        try:
            return self._next()
        except SourceLost:
            raise SourceLost(explain_file(Path(self.name))) from None

    def _next(self) -> RawFrame:
        while self._due >= 1 and self._capture.grab():
            self._due -= 1
        self._due += self._step - 1
        return super().read()


class FfmpegStream(_OpenCvSource):
    """A network stream that FFmpeg reads; its name does not show the password of its address."""

    def __init__(self, address: str) -> None:
        super().__init__(redact_address(address), live=True)
        self._address = address

    def open(self) -> None:
        """See Source."""
        os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", _FFMPEG)
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, TIMEOUT_MS]
        try:
            self._open(self._address, cv2.CAP_FFMPEG, limits)
        except SourceLost:
            if not self._address.startswith("rtsp"):
                raise
            raise SourceLost(explain_rtsp(self._address)) from None
