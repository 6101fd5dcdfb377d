"""Which records are comparable, and the figures that are compared. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from toolkit.artifacts.bench import BenchRecord

SPEEDS = ("single-stream", "offline")
BATCHES = 30


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class ComparisonKey:
    """The properties that two records must share to be comparable."""

    name: str
    """Name of the bundle; bundles of the same name count as the same work."""
    scenario: str
    accelerator: str
    computed_in: str
    settings: tuple[tuple[str, str], ...]
    images: str
    """The digest of the image set: decoding is inside the clock."""
    quick: bool


def key_of(record: BenchRecord, name: str) -> ComparisonKey:
    """The kind of a record of the bundle of that name."""
    return ComparisonKey(
        name=name,
        scenario=record.scenario,
        accelerator=record.accelerator,
        computed_in=fact_text(record, "used", "precision"),
        settings=tuple((key, str(record.settings.get(key))) for key in ("clock", "threads", "streams")),
        images=fact_text(record, "image_set"),
        quick=record.quick,
    )


def device_class(record: BenchRecord) -> tuple[str, str, str]:
    """Return what makes devices similar: board, processor, cores."""
    return fact_text(record, "model"), fact_text(record, "machine"), fact_text(record, "cores")


def fact_text(record: BenchRecord, *path: str) -> str:
    """Return one of the record's facts as text; empty if unknown."""
    value = fact_value(record, *path)
    return "" if value is None else str(value)


def fact_value(record: BenchRecord, *path: str) -> object:
    """Return one of the record's facts, or None."""
    at: object = record.facts
    for name in path:
        at = at.get(name) if isinstance(at, Mapping) else None
    return at


def reading(record: BenchRecord, name: str) -> float | None:
    """Return a reading from the end of the run, else from its start, or None."""
    for when in ("after", "before"):
        value = fact_value(record, "environment", when, name)
        if isinstance(value, int | float):
            return float(value)
    return None


def batch_means_ms(record: BenchRecord) -> tuple[float, ...]:
    """Milliseconds per image in BATCHES parts of the run of equally many images; empty if there is not one for each.

    Neighboring latencies resemble each other, and a test that treats them as independent reports noise as change; means
    of long batches are hardly correlated (Law, Simulation Modeling and Analysis, 9.5.3). The remainder is not used.
    """
    samples = record.samples_ms
    size = len(samples) // BATCHES
    if not size:
        return ()
    if record.scenario == "offline":  # completion times: a batch takes from its first one's start to its last one's end
        edges = (0.0, *samples[size - 1 : size * BATCHES : size])
        means = [(end - start) / size for start, end in pairwise(edges)]
    else:
        means = [sum(samples[start : start + size]) / size for start in range(0, size * BATCHES, size)]
    return tuple(means) if min(means) > 0 else ()


def middle_ms(record: BenchRecord) -> float | None:
    """Return the median of the batch means: the record's value in comparisons."""
    means = batch_means_ms(record)
    return statistics.median(means) if means else None
