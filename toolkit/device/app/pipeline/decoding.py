"""Second stage: decode a frame and resize it to the network's input.

A camera's frame is usually much larger than the network's input, and `image_io.resize`, which averages all pixels, then
takes longer than decoding. So the frame is first reduced by 2, 4 or 8; for a JPEG this happens while it is decoded.
Then it is interpolated to twice the network's size, and each four pixels are averaged. The result differs from
`image_io.resize` by less than the bilinear resizing of most camera programs does: a third of a level against more than
one on soft images of 1280 by 720. With `exact`, frames are resized exactly as in training, as uploaded images always
are.
"""

from __future__ import annotations

import struct
import threading
from typing import TYPE_CHECKING, Callable, Optional, Tuple

import cv2
import numpy as np

from ...image_io import check_whole, crop_to_aspect, resize
from ...jpeg import refuse_cut_jpeg
from .messages import Counters, DropOldestQueue, Frame, InputFormat, Query

if TYPE_CHECKING:
    from .messages import Pixels
    from .trigger import Trigger

FACTORS = {8: cv2.IMREAD_REDUCED_COLOR_8, 4: cv2.IMREAD_REDUCED_COLOR_4, 2: cv2.IMREAD_REDUCED_COLOR_2}
FINER = 1.5
"""Smallest factor left for the resizing after that; below it, unequal weights of the pixels would be visible."""
COARSER = 4.0
"""Largest factor left; above it, interpolation would skip pixels."""
_SIZES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
"""Markers of a JPEG's frame header, which begins with its size (ITU-T T.81, B.2.2)."""
_STEP_S = 0.2
JPEG_QUALITY, JPEG_WIDTH = 80, 960
"""Of frames that are encoded to be shown; wider ones are reduced to this width in pixels."""


def decode_frame(frame: Frame, factor: int = 1) -> Pixels:
    """Return the frame as u8 [height, width, 3] in BGR, each side reduced by `factor`, rounded up.

    Raises:
        ValueError: the frame is damaged or truncated.
    """
    if frame.pixels is not None:
        return _shrunk(frame.pixels, factor)
    jpeg = frame.jpeg or b""
    check_whole(jpeg)
    flags = FACTORS.get(factor, cv2.IMREAD_COLOR)
    try:
        image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), flags)
    except cv2.error as error:
        raise ValueError(f"cannot be decoded: {error.err}") from None
    if image is None:
        raise ValueError("cannot be decoded")
    pixels: Pixels = image
    refuse_cut_jpeg(jpeg, pixels, flags)
    return pixels


def frame_as_jpeg(frame: Frame) -> bytes:
    """Return the camera's JPEG as it came, or the encoded frame, at most JPEG_WIDTH wide."""
    return frame.jpeg or b"" if frame.pixels is None else encode_jpeg(frame.pixels)


def encode_jpeg(pixels: Pixels) -> bytes:
    """Return u8 [height, width, 3] in BGR as a JPEG, at most JPEG_WIDTH wide."""
    height, width = pixels.shape[:2]
    if width > JPEG_WIDTH:
        pixels = cv2.resize(pixels, (JPEG_WIDTH, height * JPEG_WIDTH // width), interpolation=cv2.INTER_AREA)
    _, jpeg = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    content: bytes = jpeg.tobytes()
    return content


def _shrunk(pixels: Pixels, factor: int) -> Pixels:
    if factor == 1:
        return pixels
    size = (-(-pixels.shape[1] // factor), -(-pixels.shape[0] // factor))
    smaller: Pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return smaller


def downscale_factor(size: Optional[Tuple[int, int]], input_format: InputFormat) -> int:
    """Return the largest factor that leaves an image of this (height, width) FINER times larger than the input."""
    if size is None:
        return 1
    return next((factor for factor in FACTORS if min(size) // factor >= FINER * max(input_format.size)), 1)


def jpeg_size(jpeg: bytes) -> Optional[Tuple[int, int]]:
    """Return (height, width) in pixels from the frame header; None if there is no such header."""
    at = 2
    while at + 9 <= len(jpeg) and jpeg[at] == 0xFF:
        if jpeg[at + 1] in _SIZES:
            height, width = struct.unpack_from(">HH", jpeg, at + 5)
            return height, width
        at += 1 if jpeg[at + 1] == 0xFF else 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
    return None


def prepare_frame(frame: Frame, input_format: InputFormat, *, exact: bool = False) -> Pixels:
    """Return the network's input: u8 [height, width, 3] in RGB.

    Raises:
        ValueError: the frame is damaged.
    """
    size = frame.pixels.shape[:2] if frame.pixels is not None else jpeg_size(frame.jpeg or b"")
    pixels = decode_frame(frame, 1 if exact else downscale_factor(size, input_format))
    fit_it = resize if exact else fast_resize
    small: Pixels = cv2.cvtColor(fit_it(pixels, input_format.size, input_format.crop), cv2.COLOR_BGR2RGB)
    return small


def fast_resize(image: Pixels, size: Tuple[int, int], crop: str) -> Pixels:
    """Resize as `image_io.resize`, in a third of its time if both axes shrink by FINER to COARSER."""
    part, (height, width) = crop_to_aspect(image, size, crop), size
    times = (part.shape[0] / height, part.shape[1] / width)
    if min(times) < FINER or max(times) > COARSER:
        return resize(part, size)
    twice = cv2.resize(part, (2 * width, 2 * height), interpolation=cv2.INTER_LINEAR)
    small: Pixels = cv2.resize(twice, (width, height), interpolation=cv2.INTER_AREA)
    return small


class Decoder(threading.Thread):
    """A decoding thread; takes a frame only when the next queue has room, so that dropped frames are not decoded."""

    def __init__(
        self,
        captured: DropOldestQueue[Frame],
        ready: DropOldestQueue[Query],
        input_format: Callable[[], InputFormat],
        counters: Counters,
        trigger: Optional[Trigger] = None,
        *,
        exact: bool,
    ) -> None:
        super().__init__(name="decode", daemon=True)
        self._captured, self._ready, self._input_format, self._counters = captured, ready, input_format, counters
        self._exact, self._trigger = exact, trigger
        self._stopping = False

    def run(self) -> None:
        """Decode frames until `stop`."""
        while not self._stopping:
            if self._ready.reserve(_STEP_S):
                frame = self._captured.take(_STEP_S)
                self._ready.settle(None if frame is None else self._decoded(frame))

    def _decoded(self, frame: Frame) -> Optional[Query]:
        if self._trigger is not None and not self._trigger.wants(frame):
            self._counters.add("skipped")
            return None
        input_format = self._input_format()
        try:
            return Query(frame, input_format, prepare_frame(frame, input_format, exact=self._exact))
        except (ValueError, cv2.error):
            self._counters.add("damaged")
            return None

    def stop(self) -> None:
        """Ask the thread to end."""
        self._stopping = True
