"""Compare blocks of frames with a reference from the same camera.

Frames follow each other closely, so they are no independent samples. A block's mean is compared with the means of the
reference's blocks, whose spread contains whatever connects the frames of a block. With n reference blocks of mean m and
standard deviation s, a new block's mean x of the same distribution lies beyond

    |x - m| > t(1 - a/2; n - 1) · s · sqrt(1 + 1/n)

with probability a (prediction interval of the normal distribution). `a` is chosen so that one block in
frames_per_false_alarm frames lies beyond by chance, over all signals together. Two more conditions make up for means that are
not normal, such as those of scenes with rare passers-by: the mean lies outside the range of all reference blocks, and so does
that of the next block. A deviation that is too small to matter is none.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Sequence, Tuple

from .drift_settings import BRIGHTNESS, CLASSES, CONFIDENCE, CONTRAST, DISTANCE, SHARPNESS, DriftSettings

RAISE_AFTER, CLEAR_AFTER = 2, 3
"""Blocks in a row beyond the limit, or within it."""
SMALLEST = {BRIGHTNESS: 5.0, CONTRAST: 3.0, SHARPNESS: 0.3, DISTANCE: 0.1, CONFIDENCE: 0.03, CLASSES: 0.1}
"""Deviations that never count: levels of 255; of a usual training image's distance; of probability; of the share of frames that
changed class."""
SMALLEST_SHARE = {SHARPNESS: 0.15, DISTANCE: 0.15}
"""The same as a share of the reference's mean."""
RAISED, CLEARED = "raised", "cleared"


@dataclass(frozen=True)
class Block:
    """Means of a block's signals, and the share of its frames in each class."""

    means: Mapping[str, float]
    classes: Mapping[str, float]


@dataclass(frozen=True)
class SignalBaseline:
    """What a signal's block means are compared with."""

    mean: float
    scale: float
    """A deviation of 1, in the signal's unit."""
    lowest: float
    highest: float
    """The range of the reference's block means."""


class DriftDetector:
    """Learns a reference, then compares each block with it; used by one thread.

    `distance`: whether frames have the distance from the training images.
    """

    def __init__(self, settings: DriftSettings, *, distance: bool = True) -> None:
        numbers = settings.numbers
        self._signals = tuple(name for name in settings.signals if distance or name != DISTANCE)
        self._size, self._needed = numbers.block_frames, numbers.reference_blocks
        alpha = numbers.block_frames / numbers.frames_per_false_alarm / max(len(self._signals), 1)
        self.limit = student_quantile(1 - alpha / 2, numbers.reference_blocks - 1)
        """Deviation beyond which a block counts."""
        self.reference: List[Block] = []
        self.deviations: Dict[str, float] = {}
        """Of the last block, by signal."""
        self.raised: List[str] = []
        self._sums: Counter[str] = Counter()
        self._classes: Counter[str] = Counter()
        self._frames = 0
        self._streaks: Counter[str] = Counter()
        self._baselines: Dict[str, SignalBaseline] = {}
        self._shares: Dict[str, float] = {}

    @property
    def learned(self) -> float:
        """Return the part of the reference that is there, from 0 to 1."""
        return len(self.reference) / self._needed

    def add(self, values: Mapping[str, float], label: str, *, may_learn: bool = True) -> List[Tuple[str, str]]:
        """Add a frame; return (signal, RAISED or CLEARED) for what changed at the end of a block.

        Without `may_learn`, a block that would go into the reference is left out.
        """
        self._frames += 1
        self._classes[label] += 1
        for name, value in values.items():
            self._sums[name] += value  # type: ignore[assignment]  # a Counter sums floats as well
        if self._frames < self._size:
            return []
        block = Block(
            {name: total / self._frames for name, total in self._sums.items()},
            {name: count / self._frames for name, count in self._classes.items()},
        )
        self._sums.clear()
        self._classes.clear()
        self._frames = 0
        if self.learned < 1:
            self.learn([block] if may_learn else [])
            return []
        return self._compare(block)

    def learn(self, blocks: Sequence[Block]) -> None:
        """Add blocks to the reference; the baselines are computed once it is complete."""
        self.reference += blocks
        if not blocks or self.learned < 1:
            return
        for block in self.reference:
            for name, share in block.classes.items():
                self._shares[name] = self._shares.get(name, 0.0) + share / len(self.reference)
        for signal in self._signals:
            self._baselines[signal] = self._baseline(signal)

    def _baseline(self, signal: str) -> SignalBaseline:
        values = [self._value(block, signal) for block in self.reference]
        mean = statistics.fmean(values)
        smallest = max(SMALLEST[signal], SMALLEST_SHARE.get(signal, 0.0) * mean)
        spread = statistics.stdev(values) * math.sqrt(1 + 1 / len(values))
        return SignalBaseline(mean, max(spread, smallest / self.limit), min(values), max(values))

    def _value(self, block: Block, signal: str) -> float:
        """Return a signal of a block: its mean, or for CLASSES the share of frames that moved from class to class."""
        if signal != CLASSES:
            return block.means[signal]
        names = {*block.classes, *self._shares}
        return sum(abs(block.classes.get(name, 0.0) - self._shares.get(name, 0.0)) for name in names) / 2

    def _compare(self, block: Block) -> List[Tuple[str, str]]:
        events = []
        for signal, baseline in self._baselines.items():
            value = self._value(block, signal)
            self.deviations[signal] = (value - baseline.mean) / baseline.scale
            in_range = baseline.lowest <= value <= baseline.highest
            beyond = abs(self.deviations[signal]) > self.limit and not in_range
            unexpected = beyond != (signal in self.raised)
            self._streaks[signal] = self._streaks[signal] + 1 if unexpected else 0
            if self._streaks[signal] < (RAISE_AFTER if beyond else CLEAR_AFTER):
                continue
            self._streaks[signal] = 0
            self.raised.append(signal) if beyond else self.raised.remove(signal)
            events.append((signal, RAISED if beyond else CLEARED))
        return events

    def to_json(self) -> Dict[str, Any]:
        """Return the reference."""
        return {"blocks": [{"means": dict(each.means), "classes": dict(each.classes)} for each in self.reference]}

    def load(self, content: Any) -> None:
        """Take the reference that `to_json` returned.

        Raises:
            ValueError, KeyError, TypeError: it is not one, or one of other signals.
        """
        blocks = [
            Block(
                {name: float(block["means"][name]) for name in self._signals if name != CLASSES},
                {str(name): float(share) for name, share in block["classes"].items()},
            )
            for block in content["blocks"][: self._needed]
        ]
        self.reference = []
        self.learn(blocks)


def student_quantile(probability: float, degrees: int) -> float:
    """Return the quantile of Student's t for a probability above 1/2, by bisection of its tail."""
    low, high = 0.0, 1e6
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _tail(middle, degrees) > 1 - probability else (low, middle)
    return high


def _tail(value: float, degrees: int) -> float:
    """Return P(T > value) of Student's t: the integral of cos^(degrees - 1) of the angle, by Simpson's rule."""
    start, steps = math.atan(value / math.sqrt(degrees)), 200
    width = (math.pi / 2 - start) / steps
    weights = [1, *([4, 2] * (steps // 2))[:-1], 1]
    heights = (math.cos(start + width * step) ** (degrees - 1) for step in range(steps + 1))
    total = sum(weight * height for weight, height in zip(weights, heights)) * width / 3  # noqa: B905 - strict= came with Python 3.10
    return total * math.exp(math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2)) / math.sqrt(math.pi)
