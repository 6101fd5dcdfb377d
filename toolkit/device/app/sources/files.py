"""Sources without a camera: a test pattern, and the images of a folder."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Iterator, List, Optional

import cv2
import numpy as np

from ... import image_io
from ...image_header import IMAGE_SUFFIXES, JPEG_MAGIC
from .base import DamagedFrameError, RawFrame, SourceLost

if TYPE_CHECKING:
    from ..pipeline.messages import Pixels


class TestPattern:
    """A bar that moves over a dark, then a light image of 640 by 480 pixels; the JPEGs are encoded once."""

    name, live = "test pattern", False
    fps: Optional[float] = None
    FRAMES, HEIGHT, WIDTH = 100, 480, 640

    def __init__(self) -> None:
        self._endless: Iterator[bytes] = iter(())

    def open(self) -> None:
        """See Source."""
        drawn = [
            cv2.imencode(".jpg", self._draw(number), [cv2.IMWRITE_JPEG_QUALITY, 80]) for number in range(self.FRAMES)
        ]
        self._endless = itertools.cycle([jpeg.tobytes() for _, jpeg in drawn])

    def read(self) -> RawFrame:
        """See Source."""
        return next(self._endless)

    def close(self) -> None:
        """See Source."""

    def _draw(self, number: int) -> Pixels:
        light = number >= self.FRAMES // 2
        image = np.full((self.HEIGHT, self.WIDTH, 3), 205 if light else 40, np.uint8)
        left = number * (self.WIDTH - 40) // self.FRAMES
        image[:, left : left + 40] = (180, 120, 60)
        ink = (30, 30, 30) if light else (225, 225, 225)
        cv2.putText(image, f"test pattern {number:03d}", (24, 56), cv2.FONT_HERSHEY_SIMPLEX, 1.0, ink, 2, cv2.LINE_AA)
        return image


class ImageFolder:
    """The images of a folder by name, repeated; JPEGs are passed on undecoded."""

    live = False
    fps: Optional[float] = None

    def __init__(self, path: Path) -> None:
        self.name, self._path = str(path), path
        self._paths: List[Path] = []
        self._number = self._damaged = 0

    def open(self) -> None:
        """See Source."""
        self._paths = self._images()
        self._number = self._damaged = 0
        if not self._paths:
            raise SourceLost("there is no image in it")

    def _images(self) -> List[Path]:
        try:
            return sorted(path for path in self._path.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
        except OSError as error:
            raise SourceLost(f"cannot be read: {error.strerror}") from None

    def read(self) -> RawFrame:
        """See Source."""
        path = self._paths[self._number % len(self._paths)]
        self._number += 1
        try:
            frame = _read(path)
        except (OSError, ValueError) as error:
            self._damaged += 1
            if self._damaged > len(self._paths):
                raise SourceLost(f"none of its {len(self._paths)} images can be read") from None
            raise DamagedFrameError(_named(path, error)) from None
        self._damaged = 0
        return frame

    def close(self) -> None:
        """See Source."""


def _read(path: Path) -> RawFrame:
    content = path.read_bytes()
    if content.startswith(JPEG_MAGIC):
        image_io.check_whole(content)
        return content
    return np.ascontiguousarray(image_io.read_image(path)[..., ::-1])


def _named(path: Path, error: Exception) -> str:
    """Return "PATH: reason"; the reason of an ImageError names the path already."""
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return reason if reason.startswith(f"{path}:") else f"{path}: {reason}"
