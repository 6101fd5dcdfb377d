"""Benchmark records, and the choices made by them."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantResult:
    """A variant of a model (its bundle in one precision for one runtime), as measured on one kind of device."""

    bundle: str
    name: str
    size_bytes: int
    p90_ms: float | None
    """Of a single-stream run; None if there was none."""
    p90_interval_ms: tuple[float, float] | None
    """95 %."""
    accuracy: float | None
    excluded: str = ""
    """Why it is not eligible: it does not run there, is not accurate enough, or its run is not valid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantChoice:
    """The fastest variant of a model on one kind of device; `digest` is of model and kind, so a later choice replaces it."""

    digest: str
    parent: str
    """The trained model."""
    kind: str
    """Processor and accelerator, such as "Cortex-A76, CPU"."""
    device: str
    """The device that was measured."""
    bundle: str
    reason: str
    variants: tuple[VariantResult, ...]
    """All variants, eligible ones first, the fastest first."""
    at: str
