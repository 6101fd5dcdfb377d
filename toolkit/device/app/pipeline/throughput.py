"""How fast it goes, of late."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any, Deque, Dict, Optional, Tuple

from ...percentiles import MIN_QUERIES, nearest_rank
from .messages import now_ns

WINDOW_S = 5.0
SAMPLES = 2048
FRESH_S = 0.25
"""So old a summary may be: to sort thousands of samples for each of many who ask would cost frames."""
MIN_SAMPLES = {**MIN_QUERIES, 50: 10}
"""The samples that each percentile needs before it is shown."""


class ThroughputMeter:
    """Results a second over the last WINDOW_S seconds, and the percentiles of the last SAMPLES latencies."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._moments: Deque[int] = deque(maxlen=SAMPLES)
        self._latencies: Deque[float] = deque(maxlen=SAMPLES)
        self._since_ns = now_ns()
        self._summary: Tuple[int, Dict[str, Any]] = (0, {})

    def add(self, latency_ms: float) -> None:
        """One more result, just now."""
        with self._lock:
            self._moments.append(now_ns())
            self._latencies.append(latency_ms)

    def restart(self) -> None:
        """Forget what another model took."""
        with self._lock:
            self._moments.clear()
            self._latencies.clear()
            self._since_ns = now_ns()
        self._summary = (0, {})

    def summary(self) -> Dict[str, Any]:
        """{"fps", "latency_ms"}, rounded, as of FRESH_S ago at most."""
        at, found = self._summary
        if not found or now_ns() - at > FRESH_S * 1e9:
            latency = {name: None if value is None else round(value, 3) for name, value in self.latency_ms().items()}
            found = {"fps": round(self.fps(), 2), "latency_ms": latency}
            self._summary = (now_ns(), found)
        return found

    def fps(self) -> float:
        """Results a second."""
        now = now_ns()
        with self._lock:
            window_s = max(min(WINDOW_S, (now - self._since_ns) / 1e9), 0.5)
            recent = sum(now - moment < window_s * 1e9 for moment in self._moments)
            if recent == SAMPLES:
                window_s = (now - self._moments[0]) / 1e9
        return recent / window_s

    def latency_ms(self) -> Dict[str, Optional[float]]:
        """{"p50", "p90", "p95", "p99"}; None where there are too few samples for it."""
        with self._lock:
            samples = sorted(self._latencies)
        return {f"p{percent}": nearest_rank(samples, percent, MIN_SAMPLES) for percent in MIN_SAMPLES}
