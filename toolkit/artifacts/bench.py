"""Benchmark records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRecord:
    """One scenario of one bundle on one device: raw samples and all that decides whether they count."""

    digest: str
    parent: str
    """The bundle."""
    device: str
    scenario: str
    """One of "single-stream", "offline", "accuracy"."""
    accelerator: str
    samples_ms: tuple[float, ...]
    """Milliseconds by the device's monotonic clock: latency per query; offline, completion times since the start."""
    wall_s: float
    quick: bool
    broken_rules: tuple[str, ...]
    """Empty means valid; a quick run may be valid and is still never compared with a full one."""
    accuracy: float | None
    correct: int | None
    images: int
    facts: Mapping[str, object]
    settings: Mapping[str, object]
    at: str
