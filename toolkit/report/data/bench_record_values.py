"""Figures of single bench records."""

from __future__ import annotations

from functools import lru_cache

from toolkit.artifacts.bench import BenchRecord
from toolkit.stats import intervals


def p90_ms(record: BenchRecord) -> float | None:
    """The 90th percentile latency of a single-stream record, or None: too few queries, or another scenario."""
    return _p90(record.samples_ms) if record.scenario == "single-stream" else None


@lru_cache(maxsize=1 << 16)
def _p90(samples: tuple[float, ...]) -> float | None:
    """Sorting takes ten times as long as looking it up, and tables, charts and files all ask."""
    return intervals.percentile(samples, 90)


def rate(record: BenchRecord) -> float | None:
    """Images per second of an offline record, or None."""
    if record.scenario != "offline" or not record.samples_ms:
        return None
    return len(record.samples_ms) / record.wall_s


def is_valid(record: BenchRecord) -> bool:
    """Whether it broke no rule."""
    return not record.broken_rules


def is_full(record: BenchRecord) -> bool:
    """A speed run that rule 2 calls full; an accuracy pass is neither quick nor full."""
    return is_valid(record) and not record.quick and record.scenario != "accuracy"
