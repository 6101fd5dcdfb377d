"""Sequential test of a share, pure: it ends as soon as the samples seen suffice for a decision either way.

Wald's sequential probability ratio test (Annals of Mathematical Statistics 16, 1945, 117-186) of p <= bad against p >= good:
after n samples, k of them successes, the log-likelihood ratio

    k ln(good / bad) + (n - k) ln((1 - good) / (1 - bad))

decides for "good" from ln((1 - beta) / alpha) on, and for "bad" down to ln(beta / (1 - alpha)). With independent samples, a
share of `bad` or less passes with a probability of about `alpha` at most, and one of `good` or more fails with `beta` at most.

Neighboring frames of a video are not independent. The ratio is therefore divided by the design effect (1 + r) / (1 - r), the
number of samples that are worth one independent sample in a series whose neighbors correlate by r (Bayley and Hammersley,
Supplement to the Journal of the Royal Statistical Society 8, 1946, for first-order autoregression). The error rates then hold
approximately: simulated for bad = 0.95 and alpha = 0.01, a share of exactly 0.95 passes in 1 % of the runs at r = 0, in 5 % at
r = 0.5 and in 22 % at r = 0.8, and a share of 0.90 in 4 % at r = 0.8. So samples should be as far apart as time allows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, List, Mapping, Sequence

PASS, FAIL = "pass", "fail"
MOST_CORRELATION = 0.98
"""Higher estimates count as this, so that a long series can still decide."""


@dataclass(frozen=True)
class SequentialTest:
    """The test that a share is above `bad`; the samples decide once there are `least` of them."""

    bad: float
    good: float
    alpha: float = 0.01
    beta: float = 0.05
    least: int = 30

    @classmethod
    def above(cls, bound: float) -> "SequentialTest":
        """Return the test that a share is above a bound between 0 and 1: one that leaves half as many failures passes."""
        return cls(bound, (1 + bound) / 2)

    def decide(self, samples: Sequence[bool]) -> str:
        """Return PASS, FAIL, or "" while the samples do not suffice."""
        if len(samples) < self.least:
            return ""
        successes = sum(samples)
        ratio = successes * math.log(self.good / self.bad)
        ratio += (len(samples) - successes) * math.log((1 - self.good) / (1 - self.bad))
        ratio /= design_effect(samples)
        if ratio >= math.log((1 - self.beta) / self.alpha):
            return PASS
        return FAIL if ratio <= math.log(self.beta / (1 - self.alpha)) else ""


def design_effect(samples: Sequence[bool]) -> float:
    """Return how many samples are worth one independent sample, from the correlation of neighbors; at least 1."""
    share = sum(samples) / len(samples)
    variance = share * (1 - share)
    if len(samples) < 3 or not variance:
        return 1.0
    pairs = zip(samples, samples[1:])  # noqa: B905, RUF007 - strict= and pairwise came with Python 3.10
    covariance = math.fsum((first - share) * (second - share) for first, second in pairs) / (len(samples) - 1)
    correlation = min(max(covariance / variance, 0.0), MOST_CORRELATION)
    return (1 + correlation) / (1 - correlation)


def agreements(frames: Sequence[Mapping[str, Any]]) -> List[bool]:
    """Return for each counted frame whether both releases answer the same; frames of a scene that stands still count once."""
    return [answered_label(one["serving"]) == answered_label(one["candidate"]) for one in frames if one["changed"]]


def answered_label(answer: Mapping[str, Any]) -> str:
    """Return the label, or "unknown"."""
    return "unknown" if answer["unknown"] else str(answer["label"])
