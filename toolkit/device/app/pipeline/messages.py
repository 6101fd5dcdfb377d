"""Messages between the stages, and their queues."""

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
    """One image from the camera: the bytes of a JPEG, or u8 [height, width, 3] in BGR."""

    number: int
    captured_ns: int
    """Time of arrival, by the monotonic clock."""
    jpeg: Optional[bytes] = None
    pixels: Optional[Pixels] = None


@dataclass(frozen=True)
class InputFormat:
    """Input of a network: size = (height, width) in pixels, and how images are cropped to it."""

    size: Tuple[int, int]
    crop: str


Reply = Callable[[Optional["Answer"], str], None]
"""Called once with an answer, f32 [classes], or with None and the reason."""


@dataclass(frozen=True)
class Query:
    """A frame ready for the network; `fitted` is u8 [height, width, 3] in RGB, of `input_format`."""

    frame: Frame
    input_format: InputFormat
    fitted: Pixels
    reply: Optional[Reply] = None
    """Set for images sent to the API, which are answered or refused, never dropped."""


@dataclass(frozen=True)
class Classification:
    """Labels of a frame: `ranking`, most probable first, and for multi-label models `labels`, those above 1/2."""

    frame: Frame
    ranking: List[Tuple[str, float]]
    labels: Optional[List[str]]
    release: str
    latency_ms: float
    """Time from the frame's arrival to this result."""
    unknown: Optional[bool] = None
    """Whether the best guess is too unsure to be an answer; None if the bundle has no rule for that."""
    score: Optional[float] = None
    """The score that decides this, higher for surer answers."""
    answer: Optional[Answer] = None
    """What the network answered: f32 [classes], or [1] for the second of two classes."""
    fitted: Optional[Pixels] = None
    """The network's input: u8 [height, width, 3] in RGB."""


class DropOldestQueue(Generic[T]):
    """A bounded queue between two stages; when full, it drops its oldest item, except items added by `keep`."""

    def __init__(self, capacity: int) -> None:
        self.capacity, self.dropped = capacity, 0
        self._items: Deque[T] = deque()
        self._reserved: Deque[T] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._promised = 0

    def put(self, item: T) -> None:
        """Append an item without waiting."""
        with self._changed:
            if len(self._items) >= self.capacity:
                self._items.popleft()
                self.dropped += 1
            self._items.append(item)
            self._changed.notify()

    def keep(self, item: T) -> bool:
        """Add an item that is not dropped, ahead of the others; return False if the queue is full or closed."""
        with self._changed:
            if self._closed or len(self._reserved) >= self.capacity:
                return False
            self._reserved.append(item)
            self._changed.notify()
            return True

    def has_room(self, timeout: float) -> bool:
        """Return whether an item can be added without a drop, after waiting at most `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(self._is_room, timeout)

    def _is_room(self) -> bool:
        return len(self._items) + self._promised < self.capacity or self._closed

    def reserve(self, timeout: float) -> bool:
        """Reserve room for an item that `settle` adds; return False if there was none for `timeout` seconds."""
        with self._changed:
            there = self._changed.wait_for(self._is_room, timeout)
            self._promised += there
            return there

    def settle(self, item: Optional[T]) -> None:
        """Add the item that room was reserved for, or release the room."""
        with self._changed:
            self._promised -= 1
        if item is not None:
            self.put(item)

    def take(self, timeout: float) -> Optional[T]:
        """Return the oldest item; None if there was none for `timeout` seconds or the queue was closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._reserved or self._items or self._closed, timeout)
            source = self._reserved or self._items
            if not source:
                return None
            item = source.popleft()
            self._changed.notify_all()
            return item

    def close(self) -> List[T]:
        """Close the queue and wake all waiting threads; return the items of `keep` that were not taken."""
        with self._changed:
            self._closed = True
            left = list(self._reserved)
            self._reserved.clear()
            self._items.clear()
            self._changed.notify_all()
            return left


class Counters:
    """Named counters; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Dict[str, int] = {}

    def add(self, name: str, number: int = 1) -> None:
        """Add to a counter."""
        with self._lock:
            self._counts[name] = self._counts.get(name, 0) + number

    def __getitem__(self, name: str) -> int:
        return self._counts.get(name, 0)
