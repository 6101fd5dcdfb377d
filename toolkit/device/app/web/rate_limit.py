"""Rate limits by key, such as the address of a client."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Callable, Tuple

CLIENTS = 1024
"""Most clients that are remembered; the one inactive for the longest time is forgotten first."""


class RateLimiter:
    """A token bucket for each key: `rate` per second on average, `burst` at once."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._levels: OrderedDict[str, Tuple[float, float]] = OrderedDict()

    def wait_s(self, key: str) -> float:
        """Take a token for `key` and return 0, or return the seconds until there is one."""
        now = self._clock()
        level, since = self._levels.pop(key, (self._burst, now))
        level = min(self._burst, level + (now - since) * self._rate)
        short = max(0.0, 1 - level)
        self._levels[key] = (level if short else level - 1, now)
        if len(self._levels) > CLIENTS:
            self._levels.popitem(last=False)
        return short / self._rate
