"""Accuracy against the number of training images, by linear heads on frozen features, which takes seconds.

Subsets with equally many images of each class are drawn several times; each head is evaluated on the test images. The gain
from more images is estimated by a power law of the error, error = a * n ** -b, fitted to the points (Hestness et al.,
Deep Learning Scaling is Predictable, Empirically, 2017).
"""

from __future__ import annotations

import numpy as np

from toolkit.artifacts.model import SampleEfficiency, SamplePoint
from toolkit.stats import intervals
from toolkit.train.fitting import logistic
from toolkit.train.fitting.loop import Examples

SIZES = (2, 5, 10, 20, 50, 100, 200, 500)
"""Images of each class, as far as there are so many."""
DRAWS = 5
FEW, STRENGTHS = 20, (0.1, 0.01)
"""Regularization with fewer than FEW images of each class, and with more."""
MORE = 10
_MOST_ROWS = 2_000
_LEAST_POINTS = 3


def sample_efficiency(train: Examples, test: Examples) -> SampleEfficiency | None:
    """The curve, and what MORE images of each class are worth; None where the classes are too small for three points."""
    counts = np.bincount(train.labels)
    most = int(counts.min())
    sizes = [size for size in (*(size for size in SIZES if size < most), most) if size * len(counts) <= _MOST_ROWS]
    if len(sizes) < _LEAST_POINTS:
        return None
    points = tuple(_point(size, train, test) for size in sizes)
    return SampleEfficiency(points=points, more=MORE, gain=_gain(points, len(test.labels)))


def _point(size: int, train: Examples, test: Examples) -> SamplePoint:
    accuracies = [_accuracy(_drawn(train.labels, size, draw), train, test) for draw in range(DRAWS)]
    mean, images = float(np.mean(accuracies)), len(test.labels)
    low, high = intervals.wilson(round(mean * images), images)
    return SamplePoint(per_class=size, accuracy=mean, interval=(min(low, *accuracies), max(high, *accuracies)))


def _drawn(labels: np.ndarray, size: int, draw: int) -> np.ndarray:
    rng = np.random.default_rng([draw, size])
    classes = range(int(labels.max()) + 1)
    return np.concatenate([rng.choice(np.flatnonzero(labels == one), size, replace=False) for one in classes])


def _accuracy(rows: np.ndarray, train: Examples, test: Examples) -> float:
    classes = int(train.labels.max()) + 1
    targets = np.eye(classes, dtype=np.float32)[train.labels[rows]]
    strengths = STRENGTHS[:1] if len(rows) < FEW * classes else STRENGTHS
    model = logistic.fit(train.inputs[rows], targets, np.ones(len(rows), np.float32), strengths)[-1]
    return float(np.mean(model.logits(test.inputs).argmax(axis=1) == test.labels))


def _gain(points: tuple[SamplePoint, ...], images: int) -> float:
    """How much accuracy MORE images of each class would add by the power law; an error of none counts as half an image."""
    sizes = np.log([point.per_class for point in points])
    errors = np.log([max(1 - point.accuracy, 0.5 / images) for point in points])
    slope, offset = np.polyfit(sizes, errors, 1)
    now, then = (np.exp(offset) * (points[-1].per_class + more) ** min(slope, 0.0) for more in (0, MORE))
    return float(max(now - then, 0.0))
