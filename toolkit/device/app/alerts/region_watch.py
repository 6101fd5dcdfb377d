"""Classify regions of the camera's frames for rules with a region, between whole frames."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Callable, Iterable, Optional

import cv2
import numpy as np

from ..pipeline.decoding import decode_frame
from ..pipeline.messages import now_ns
from ..regions import Region

if TYPE_CHECKING:
    from ..pipeline.frame_pipeline import FramePipeline
    from ..pipeline.messages import Answer, Classification, Frame

ANSWER_S = 10.0
"""Longest wait for one answer."""
_STEP_S = 0.2
See = Callable[["Classification", Optional[Region]], None]


class RegionWatch(threading.Thread):
    """Cuts the regions out of the newest classified frame, has each classified in turn, and passes the results on.

    Frames that arrive meanwhile are skipped, so on a slow device regions are classified less often than whole frames.
    """

    def __init__(self, regions: Iterable[Region], pipeline: FramePipeline, see: See) -> None:
        super().__init__(name="regions", daemon=True)
        self._regions, self._pipeline, self._see = tuple(regions), pipeline, see
        self._newest: queue.Queue[Frame] = queue.Queue(1)
        self._stopping = threading.Event()

    def see(self, result: Classification) -> None:
        """Take the frame of a result, if the thread is free; called by the results stage."""
        try:
            self._newest.put_nowait(result.frame)
        except queue.Full:
            return

    def run(self) -> None:
        """Classify regions until `end`."""
        while not self._stopping.is_set():
            try:
                frame = self._newest.get(timeout=_STEP_S)
                pixels = decode_frame(frame)
            except (queue.Empty, ValueError, cv2.error):
                continue
            for region in self._regions:
                part = np.ascontiguousarray(region.cut(pixels)[..., ::-1])
                result = self._classify(frame, part)
                if result is not None:
                    self._see(result, region)

    def _classify(self, frame: Frame, image: np.ndarray) -> Optional[Classification]:
        """Return the result on an image, RGB; None if there was no room or no answer."""
        answers: queue.SimpleQueue[Optional[Answer]] = queue.SimpleQueue()
        loaded = self._pipeline.worker.loaded
        if self._stopping.is_set() or not self._pipeline.ask(image, lambda answer, _: answers.put(answer)):
            return None
        try:
            answer = answers.get(timeout=ANSWER_S)
        except queue.Empty:
            return None
        if answer is None or loaded is not self._pipeline.worker.loaded:
            return None
        return self._pipeline.make_result(loaded, frame, answer, now_ns())

    def end(self, timeout: float) -> bool:
        """Stop the thread; return whether it ended in time."""
        self._stopping.set()
        if self.is_alive():
            self.join(timeout)
        return not self.is_alive()
