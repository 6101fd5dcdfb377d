"""Whether events became more frequent, pure."""

from __future__ import annotations

import math


def more_frequent(count: int, time: float, before: int, before_time: float) -> float:
    """Return the one-sided p-value that events come no more often now than before; counts and times are not negative.

    Of two Poisson counts with the same rate, the first is binomial given their sum, with the share of its time as
    probability (Przyborowski and Wilenski, Biometrika 31, 1940).
    """
    if not count or not time > 0 or not before_time > 0:
        return 1.0
    total, share = count + before, time / (time + before_time)
    logs = (
        _log_binomial(total, k) + k * math.log(share) + (total - k) * math.log1p(-share)
        for k in range(count, total + 1)
    )
    return min(1.0, math.fsum(map(math.exp, logs)))


def _log_binomial(total: int, chosen: int) -> float:
    return math.lgamma(total + 1) - math.lgamma(chosen + 1) - math.lgamma(total - chosen + 1)
