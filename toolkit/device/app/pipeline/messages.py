"""What travels between the stages, and the queues that it travels in."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable, Deque, Dict, Generic, List, Optional, Tuple, TypeVar

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]
    Answer = npt.NDArray[np.float32]

T = TypeVar("T")
now_ns = time.monotonic_ns


@dataclass(frozen=True)
class Frame:
    """One image as the camera gave it: as a JPEG's bytes, or as u8 [height, width, 3] in BGR, as OpenCV has it."""

    number: int
    captured_ns: int
    """When it was here, by the device's monotonic clock."""
    jpeg: Optional[bytes] = None
    pixels: Optional[Pixels] = None


@dataclass(frozen=True)
class InputFormat:
    """What a network wants its images to be: size = (height, width) in pixels, and how they are cut to it."""

    size: Tuple[int, int]
    crop: str


Reply = Callable[[Optional["Answer"], str], None]
"""Called once with an answer f32 [classes], or with None and the reason why there is none."""


@dataclass(frozen=True)
class Query:
    """A frame that is ready for the network; `fitted` is u8 [height, width, 3] in RGB, of `input_format`."""

    frame: Frame
    input_format: InputFormat
    fitted: Pixels
    reply: Optional[Reply] = None
    """For an image that somebody asked about; it is answered, or refused, and never dropped in silence."""


@dataclass(frozen=True)
class Result:
    """What was said of a frame; `ranking` is the most probable labels first, `said` those above 1/2 where there may be many."""

    frame: Frame
    ranking: List[Tuple[str, float]]
    said: Optional[List[str]]
    release: str
    latency_ms: float
    """From the frame's arrival to this result."""


class DropOldestQueue(Generic[T]):
    """A bounded queue between two stages: full, it drops its oldest item, unless that was put there to be kept."""

    def __init__(self, capacity: int) -> None:
        self.capacity, self.dropped = capacity, 0
        self._items: Deque[T] = deque()
        self._kept: Deque[T] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._promised = 0

    def put(self, item: T) -> None:
        """Append it at once."""
        with self._changed:
            if len(self._items) >= self.capacity:
                self._items.popleft()
                self.dropped += 1
            self._items.append(item)
            self._changed.notify()

    def keep(self, item: T) -> bool:
        """Append what must not be dropped, before all others; False if there is no room for it, or no more use."""
        with self._changed:
            if self._closed or len(self._kept) >= self.capacity:
                return False
            self._kept.append(item)
            self._changed.notify()
            return True

    def has_room(self, timeout: float) -> bool:
        """Whether another item would drop none; waits for at most `timeout` seconds until it is so."""
        with self._changed:
            return self._changed.wait_for(self._is_room, timeout)

    def _is_room(self) -> bool:
        return len(self._items) + self._promised < self.capacity or self._closed

    def reserve(self, timeout: float) -> bool:
        """Take room for an item that is to come by `settle`; False when there was none for `timeout` seconds."""
        with self._changed:
            there = self._changed.wait_for(self._is_room, timeout)
            self._promised += there
            return there

    def settle(self, item: Optional[T]) -> None:
        """Append the item that room was taken for, or give the room back."""
        with self._changed:
            self._promised -= 1
        if item is not None:
            self.put(item)

    def take(self, timeout: float) -> Optional[T]:
        """The oldest item, or None when there was none for `timeout` seconds or the queue was closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._kept or self._items or self._closed, timeout)
            source = self._kept or self._items
            if not source:
                return None
            item = source.popleft()
            self._changed.notify_all()
            return item

    def close(self) -> List[T]:
        """Wake whoever waits; gives what was to be kept and will not be taken any more."""
        with self._changed:
            self._closed = True
            left = list(self._kept)
            self._kept.clear()
            self._items.clear()
            self._changed.notify_all()
            return left


class Counters:
    """Named counts, added to from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Dict[str, int] = {}

    def add(self, name: str, number: int = 1) -> None:
        """One more, or several."""
        with self._lock:
            self._counts[name] = self._counts.get(name, 0) + number

    def __getitem__(self, name: str) -> int:
        return self._counts.get(name, 0)
