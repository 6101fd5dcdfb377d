"""Which results are captured, and why."""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING, Callable, Dict, Optional

from ...capture_record import CHANGE, RANDOM, REQUESTED, UNKNOWN, UNSURE

if TYPE_CHECKING:
    from ..pipeline.messages import Classification
    from .capture_settings import CaptureSettings


class CapturePolicy:
    """Decides for each result, in a few microseconds; `choose` is called by one thread.

    A frame is captured for one reason, the first of: random, requested, unknown, unsure, change. Random comes first and has no
    cool-down, so that every frame is as likely as any other: only then are these captures a fair sample.
    """

    def __init__(
        self, settings: CaptureSettings, clock: Callable[[], float] = time.monotonic, seed: Optional[int] = None
    ) -> None:
        self._policies, self._limits = settings.policies, settings.limits
        self._clock, self._random = clock, random.Random(seed)  # noqa: S311 - a sample, not a secret
        self._requested = threading.Event()
        self._due: Dict[str, float] = {}
        self._held: Optional[str] = None
        self._candidate: Optional[str] = None
        self._frames = 0

    def ask(self) -> bool:
        """Capture the next result; return False if the policy `requested` is off."""
        if REQUESTED in self._policies:
            self._requested.set()
        return REQUESTED in self._policies

    def choose(self, result: Classification) -> Optional[str]:
        """Return the policy by which this result is captured; None if it is not."""
        changed = self._sees_change(result)
        if RANDOM in self._policies and self._random.random() * self._limits.random_every < 1:
            return RANDOM
        if self._requested.is_set():
            self._requested.clear()
            return REQUESTED
        wishes = {UNKNOWN: bool(result.unknown), UNSURE: is_unsure(result, self._limits.margin), CHANGE: changed}
        return next((name for name, due in wishes.items() if due and self._may(name)), None)

    def _may(self, policy: str) -> bool:
        """Return whether the policy is on and not in its cool-down; begin the next cool-down if so."""
        now = self._clock()
        if policy not in self._policies or now < self._due.get(policy, now):
            return False
        self._due[policy] = now + self._limits.cool_down_s
        return True

    def _sees_change(self, result: Classification) -> bool:
        """Return whether this frame makes another class the held one; the first class that is held is no change."""
        answer = UNKNOWN if result.unknown else result.ranking[0][0]
        self._frames = self._frames + 1 if answer == self._candidate else 1
        self._candidate = answer
        if self._frames < self._limits.change_frames or answer == self._held:
            return False
        before, self._held = self._held, answer
        return before is not None


def is_unsure(result: Classification, margin: float) -> bool:
    """Return whether an answer is close: the best two classes, or for several labels any of them to its limit of 1/2."""
    if result.labels is None:
        (_, best), *others = result.ranking
        return bool(others) and best - others[0][1] < margin
    return any(abs(probability - 0.5) < margin / 2 for _, probability in result.ranking)
