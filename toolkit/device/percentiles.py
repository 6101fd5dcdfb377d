"""Nearest-rank percentiles, and how many samples each needs; the controller uses the same code."""

from __future__ import annotations

from typing import Mapping, Optional, Sequence

MIN_QUERIES = {50: 1, 90: 64, 95: 130, 99: 662}
"""The samples that a percentile needs at 99 % confidence (bench rule 3, after MLPerf Inference)."""


def nearest_rank(ascending: Sequence[float], percent: int, least: Mapping[int, int] = MIN_QUERIES) -> Optional[float]:
    """The smallest sample that at least `percent` % of them do not exceed, or None where they are too few to print it."""
    if len(ascending) < least[percent]:
        return None
    return ascending[-(-len(ascending) * percent // 100) - 1]
