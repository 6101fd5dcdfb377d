"""Nearest-rank percentiles, and the samples that each needs; also used by the controller."""

from __future__ import annotations

from typing import Mapping, Optional, Sequence

MIN_QUERIES = {50: 1, 90: 64, 95: 130, 99: 662}
"""Samples needed for a percentile at 99 % confidence (bench rule 3, after MLPerf Inference)."""


def nearest_rank(ascending: Sequence[float], percent: int, least: Mapping[int, int] = MIN_QUERIES) -> Optional[float]:
    """Return the nearest-rank percentile of ascending samples; None if there are too few."""
    if len(ascending) < least[percent]:
        return None
    return ascending[-(-len(ascending) * percent // 100) - 1]
