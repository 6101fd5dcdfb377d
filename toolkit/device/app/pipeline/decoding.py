"""The second stage: a frame becomes what the network sees.

A camera's frame is mostly far larger than the network's input, and `images.fit`, which averages every pixel of it, then takes
longer than decoding. So it is first shrunk by 2, 4 or 8: a JPEG while it is decoded, which saves some of the decoding too. Then it
is interpolated to twice the network's size, and each four pixels are averaged, for which processors have instructions. That
changes pixels, by less than the bilinear resizing of most camera programs does (a third of a level against more than one on
soft images of 1280 by 720). Asked to be exact, frames are read as files are, `images.fit(images.read_image(jpeg), …)`, to
the bit; images that the API is sent always are.
"""

from __future__ import annotations

import struct
import threading
from typing import TYPE_CHECKING, Callable, Optional, Tuple

import cv2
import numpy as np

from ...image_io import crop_to_aspect, resize
from .messages import Counters, DropOldestQueue, Frame, InputFormat, Query

if TYPE_CHECKING:
    from .messages import Pixels

FACTORS = {8: cv2.IMREAD_REDUCED_COLOR_8, 4: cv2.IMREAD_REDUCED_COLOR_4, 2: cv2.IMREAD_REDUCED_COLOR_2}
FINER = 1.5
"""What is left to shrink by after that: with less, pixels of unequal weight would show."""
COARSER = 4.0
"""With more, interpolation would pass over pixels."""
_END_OF_IMAGE = b"\xff\xd9"
_SIZES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
"""Markers of a JPEG's frame header, which begins with its size (ITU-T T.81, B.2.2)."""
_STEP_S = 0.2


def decode_frame(frame: Frame, factor: int = 1) -> Pixels:
    """U8 [height, width, 3] in BGR, each side `factor` times shorter, rounded up.

    Raises:
        ValueError: it is damaged; a JPEG that was cut off is, too.
    """
    if frame.pixels is not None:
        return _shrunk(frame.pixels, factor)
    jpeg = frame.jpeg or b""
    if _END_OF_IMAGE not in jpeg[-4096:] and jpeg.rfind(_END_OF_IMAGE) < 0:
        raise ValueError("truncated JPEG")
    try:
        image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), FACTORS.get(factor, cv2.IMREAD_COLOR))
    except cv2.error as error:
        raise ValueError(f"cannot be decoded: {error.err}") from None
    if image is None:
        raise ValueError("cannot be decoded")
    pixels: Pixels = image
    return pixels


def _shrunk(pixels: Pixels, factor: int) -> Pixels:
    if factor == 1:
        return pixels
    size = (-(-pixels.shape[1] // factor), -(-pixels.shape[0] // factor))
    smaller: Pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return smaller


def downscale_factor(size: Optional[Tuple[int, int]], input_format: InputFormat) -> int:
    """The most that an image of this (height, width) can be shrunk by, and still be FINER than `input_format` either way round."""
    if size is None:
        return 1
    return next((factor for factor in FACTORS if min(size) // factor >= FINER * max(input_format.size)), 1)


def jpeg_size(jpeg: bytes) -> Optional[Tuple[int, int]]:
    """(height, width) in pixels by its frame header; None if there is none where it should be."""
    at = 2
    while at + 9 <= len(jpeg) and jpeg[at] == 0xFF:
        if jpeg[at + 1] in _SIZES:
            height, width = struct.unpack_from(">HH", jpeg, at + 5)
            return height, width
        at += 1 if jpeg[at + 1] == 0xFF else 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
    return None


def prepare_frame(frame: Frame, input_format: InputFormat, *, exact: bool = False) -> Pixels:
    """What the network takes: u8 [height, width, 3] in RGB.

    Raises:
        ValueError: the frame is damaged.
    """
    size = frame.pixels.shape[:2] if frame.pixels is not None else jpeg_size(frame.jpeg or b"")
    pixels = decode_frame(frame, 1 if exact else downscale_factor(size, input_format))
    fit_it = resize if exact else fast_resize
    small: Pixels = cv2.cvtColor(fit_it(pixels, input_format.size, input_format.crop), cv2.COLOR_BGR2RGB)
    return small


def fast_resize(image: Pixels, size: Tuple[int, int], crop: str) -> Pixels:
    """As `images.fit`, in a third of its time for what is FINER to COARSER times as large as the size, on both axes."""
    part, (height, width) = crop_to_aspect(image, size, crop), size
    times = (part.shape[0] / height, part.shape[1] / width)
    if min(times) < FINER or max(times) > COARSER:
        return resize(part, size)
    twice = cv2.resize(part, (2 * width, 2 * height), interpolation=cv2.INTER_LINEAR)
    small: Pixels = cv2.resize(twice, (width, height), interpolation=cv2.INTER_AREA)
    return small


class Decoder(threading.Thread):
    """One of several: takes a frame only when there is room for what becomes of it, so that what is dropped was not decoded."""

    def __init__(
        self,
        captured: DropOldestQueue[Frame],
        ready: DropOldestQueue[Query],
        input_format: Callable[[], InputFormat],
        counters: Counters,
        *,
        exact: bool,
    ) -> None:
        super().__init__(name="decode", daemon=True)
        self._captured, self._ready, self._input_format, self._counters = captured, ready, input_format, counters
        self._exact = exact
        self._stopping = False

    def run(self) -> None:
        """Until `stop`."""
        while not self._stopping:
            if self._ready.reserve(_STEP_S):
                frame = self._captured.take(_STEP_S)
                self._ready.settle(None if frame is None else self._decoded(frame))

    def _decoded(self, frame: Frame) -> Optional[Query]:
        input_format = self._input_format()
        try:
            return Query(frame, input_format, prepare_frame(frame, input_format, exact=self._exact))
        except (ValueError, cv2.error):
            self._counters.add("damaged")
            return None

    def stop(self) -> None:
        """Ask it to end."""
        self._stopping = True
