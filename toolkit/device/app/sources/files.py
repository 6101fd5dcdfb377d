"""Sources without a camera: a test pattern, and the images of a folder."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Iterator, List

import cv2
import numpy as np

from ... import image_io
from ...image_header import IMAGE_SUFFIXES
from .base import RawFrame, SourceLost

if TYPE_CHECKING:
    from ..pipeline.messages import Pixels


class TestPattern:
    """A bar that moves over a dark, then a light image of 640 by 480 pixels; the JPEGs are encoded once."""

    name, live = "test pattern", False
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

    def __init__(self, path: Path) -> None:
        self.name, self._path = str(path), path
        self._endless: Iterator[Path] = iter(())

    def open(self) -> None:
        """See Source."""
        found = self._images()
        if not found:
            raise SourceLost("there is no image in it")
        self._endless = itertools.cycle(found)

    def _images(self) -> List[Path]:
        try:
            return sorted(path for path in self._path.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
        except OSError as error:
            raise SourceLost(f"cannot be read: {error.strerror}") from None

    def read(self) -> RawFrame:
        """See Source."""
        path = next(self._endless)
        try:
            if path.suffix.lower() in {".jpg", ".jpeg", ".jpe", ".jfif"}:
                return path.read_bytes()
            return np.ascontiguousarray(image_io.read_image(path)[..., ::-1])
        except (OSError, image_io.ImageError) as error:
            raise SourceLost(str(error)) from None

    def close(self) -> None:
        """See Source."""
