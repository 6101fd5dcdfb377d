"""The second stage: a frame becomes what the network sees.

The same as `pictures.fit(pictures.read_picture(jpeg), …)` to the bit, with less work: channels are put in order after the picture
was made small.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Callable, Optional

import cv2
import numpy as np

from ..pictures import fit
from .frames import Between, Counters, Form, Frame, Query

if TYPE_CHECKING:
    from .frames import Pixels

_END_OF_IMAGE = b"\xff\xd9"
_STEP_S = 0.2


def pixels_of(frame: Frame) -> Pixels:
    """U8 [height, width, 3] in BGR.

    Raises:
        ValueError: it is damaged; a JPEG that was cut off is, too.
    """
    if frame.pixels is not None:
        return frame.pixels
    jpeg = frame.jpeg or b""
    if _END_OF_IMAGE not in jpeg[-4096:] and jpeg.rfind(_END_OF_IMAGE) < 0:
        raise ValueError("truncated JPEG")
    try:
        picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise ValueError(f"cannot be decoded: {error.err}") from None
    if picture is None:
        raise ValueError("cannot be decoded")
    pixels: Pixels = picture
    return pixels


def fitted(pixels: Pixels, form: Form) -> Pixels:
    """BGR of any size → u8 [height, width, 3] in RGB, as the network takes it."""
    small: Pixels = cv2.cvtColor(fit(pixels, form.size, form.crop), cv2.COLOR_BGR2RGB)
    return small


class Decoder(threading.Thread):
    """One of several: takes a frame only when there is room for what becomes of it, so that what is dropped was not decoded."""

    def __init__(
        self, captured: Between[Frame], ready: Between[Query], form: Callable[[], Form], counters: Counters
    ) -> None:
        super().__init__(name="decode", daemon=True)
        self._captured, self._ready, self._form, self._counters = captured, ready, form, counters
        self._stopping = False

    def run(self) -> None:
        """Until `stop`."""
        while not self._stopping:
            if self._ready.reserve(_STEP_S):
                frame = self._captured.take(_STEP_S)
                self._ready.settle(None if frame is None else self._decoded(frame))

    def _decoded(self, frame: Frame) -> Optional[Query]:
        try:
            pixels, form = pixels_of(frame), self._form()
            return Query(frame, pixels, form, fitted(pixels, form))
        except (ValueError, cv2.error):
            self._counters.add("damaged")
            return None

    def stop(self) -> None:
        """Ask it to end."""
        self._stopping = True
