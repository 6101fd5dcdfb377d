"""Recent throughput and latency of the pipeline, and a latency histogram since its start."""

from __future__ import annotations

import bisect
import itertools
import threading
from collections import deque
from dataclasses import dataclass
from typing import Any, Deque, Dict, Optional, Tuple

from ...percentiles import MIN_QUERIES, nearest_rank
from .messages import now_ns

WINDOW_S = 5.0
SAMPLES = 2048
FRESH_S = 0.25
"""How old a cached summary may be: sorting thousands of samples for each request would slow down inference."""
MIN_SAMPLES = {**MIN_QUERIES, 50: 10}
"""The samples that each percentile needs before it is shown."""


BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the latency histogram; larger values count in +Inf only."""


@dataclass(frozen=True)
class Histogram:
    """Latencies since the start: cumulative counts by BUCKETS_S, then all of them; and their sum."""

    counts: Tuple[int, ...]
    sum_s: float


class ThroughputMeter:
    """Results per second over the last WINDOW_S seconds, and percentiles of the last SAMPLES latencies."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._moments: Deque[int] = deque(maxlen=SAMPLES)
        self._latencies: Deque[float] = deque(maxlen=SAMPLES)
        self._buckets = [0] * (len(BUCKETS_S) + 1)
        self._sum_s = 0.0
        self._since_ns = now_ns()
        self._summary: Tuple[int, Dict[str, Any]] = (0, {})

    def add(self, latency_ms: float) -> None:
        """Record a result with its latency."""
        with self._lock:
            self._moments.append(now_ns())
            self._latencies.append(latency_ms)
            self._buckets[bisect.bisect_left(BUCKETS_S, latency_ms / 1e3)] += 1
            self._sum_s += latency_ms / 1e3

    def histogram(self) -> Histogram:
        """Return the histogram of all latencies since the start, over all models."""
        with self._lock:
            return Histogram(tuple(itertools.accumulate(self._buckets)), self._sum_s)

    def restart(self) -> None:
        """Forget the latencies of the previous model; the histogram stays."""
        with self._lock:
            self._moments.clear()
            self._latencies.clear()
            self._since_ns = now_ns()
        self._summary = (0, {})

    def summary(self) -> Dict[str, Any]:
        """Return {"fps", "latency_ms"}, rounded, at most FRESH_S old."""
        at, summary = self._summary
        if not summary or now_ns() - at > FRESH_S * 1e9:
            latency = {name: None if value is None else round(value, 3) for name, value in self.latency_ms().items()}
            summary = {"fps": round(self.fps(), 2), "latency_ms": latency}
            self._summary = (now_ns(), summary)
        return summary

    def fps(self) -> float:
        """Return the results per second."""
        now = now_ns()
        with self._lock:
            window_s = max(min(WINDOW_S, (now - self._since_ns) / 1e9), 0.5)
            recent = sum(now - moment < window_s * 1e9 for moment in self._moments)
            if recent == SAMPLES:
                window_s = (now - self._moments[0]) / 1e9
        return recent / window_s

    def latency_ms(self) -> Dict[str, Optional[float]]:
        """Return {"p50", "p90", "p95", "p99"} in ms; None for a percentile with too few samples."""
        with self._lock:
            samples = sorted(self._latencies)
        return {f"p{percent}": nearest_rank(samples, percent, MIN_SAMPLES) for percent in MIN_SAMPLES}
