"""Statistics derived from a record's raw samples. Pure. Percentiles only where rule 3 allows them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from toolkit.artifacts.bench import BenchRecord
from toolkit.device.bench.spec import OFFLINE, SINGLE_STREAM
from toolkit.device.percentiles import MIN_QUERIES
from toolkit.stats.intervals import Z95, percentile, wilson

Interval = tuple[float, float]
BATCHES = 10
T95_BATCHES = 2.2621571628540993
"""Student's t with BATCHES - 1 degrees of freedom, two-sided 95 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Figures of one record; None if the scenario has no such figure or too few samples. Intervals: 95 %."""

    queries: int
    mean_ms: float | None = None
    percentiles_ms: tuple[tuple[int, float], ...] = ()
    """(percent, latency), ascending."""
    p90_interval_ms: Interval | None = None
    samples_per_s: float | None = None
    samples_per_s_interval: Interval | None = None
    accuracy: float | None = None
    accuracy_interval: Interval | None = None

    @property
    def p90_ms(self) -> float | None:
        """The figure of a single-stream run."""
        return dict(self.percentiles_ms).get(90)


def summarize(record: BenchRecord) -> Summary:
    """The figures of one record."""
    samples = record.samples_ms
    if record.scenario == SINGLE_STREAM:
        return Summary(
            queries=len(samples),
            mean_ms=statistics.fmean(samples),
            percentiles_ms=percentiles(samples),
            p90_interval_ms=percentile_interval(samples, 90),
        )
    if record.scenario == OFFLINE:
        return Summary(
            queries=len(samples),
            samples_per_s=len(samples) / record.wall_s,
            samples_per_s_interval=throughput_interval(samples),
        )
    return Summary(
        queries=record.images,
        accuracy=record.accuracy,
        accuracy_interval=None if record.correct is None else wilson(record.correct, record.images),
    )


def percentiles(samples: Sequence[float]) -> tuple[tuple[int, float], ...]:
    """Return the percentiles that the number of samples allows: p90 from 64, p95 from 130, p99 from 662."""
    percentiles = ((percent, percentile(samples, percent)) for percent in sorted(MIN_QUERIES))
    return tuple((percent, value) for percent, value in percentiles if value is not None)


def percentile_interval(samples: Sequence[float], percent: int) -> Interval | None:
    """Return a distribution-free 95 % interval of a percentile, from two order statistics.

    How many of n samples lie under the true percentile is binomial; its normal approximation gives the ranks (Conover,
    Practical Nonparametric Statistics, 3.2). None where the percentile itself may not be printed.
    """
    if percentile(samples, percent) is None:
        return None
    count, share = len(samples), percent / 100
    spread = Z95 * math.sqrt(count * share * (1 - share))
    low = max(math.ceil(count * share - spread), 1)
    high = min(math.ceil(count * share + spread), count)
    ordered = sorted(samples)
    return ordered[low - 1], ordered[high - 1]


def throughput_interval(completions_ms: Sequence[float]) -> Interval | None:
    """A 95 % interval of the samples per second by batch means (Law, Simulation Modeling and Analysis, 9.5.3).

    The run is cut into BATCHES parts of equally many samples; None if there is not one for each.
    """
    size = len(completions_ms) // BATCHES
    edges = [0.0, *(completions_ms[(batch + 1) * size - 1] for batch in range(BATCHES))] if size else []
    lengths = [end - start for start, end in pairwise(edges)]
    if not lengths or min(lengths) <= 0:
        return None
    mean, half = statistics.fmean(lengths), T95_BATCHES * statistics.stdev(lengths) / math.sqrt(BATCHES)
    fastest = max(mean - half, min(lengths))
    return 1000 * size / (mean + half), 1000 * size / fastest
