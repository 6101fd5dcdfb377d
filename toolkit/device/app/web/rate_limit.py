"""How much one client, and all of them together, may ask for."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Callable, Tuple

CLIENTS = 1024
"""So many clients are remembered; the one that was silent longest is forgotten first."""


class RateLimiter:
    """A token bucket for each key: `rate` a second on average, `burst` at once."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._levels: OrderedDict[str, Tuple[float, float]] = OrderedDict()

    def wait_s(self, key: str) -> float:
        """Take one for `key` and give 0, or give the seconds after which there is one."""
        now = self._clock()
        level, since = self._levels.pop(key, (self._burst, now))
        level = min(self._burst, level + (now - since) * self._rate)
        short = max(0.0, 1 - level)
        self._levels[key] = (level if short else level - 1, now)
        if len(self._levels) > CLIENTS:
            self._levels.popitem(last=False)
        return short / self._rate
