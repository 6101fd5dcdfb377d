"""A small embedding of an image, and its distance from those of the training images.

The embedding is what a camera's place, light and lens change first: the luminance of a grid of 4 by 4 cells, mean and spread of
two color differences, and the spread of the luminance. The bundle's manifest has the mean of the training images' embeddings and a
matrix that makes them uncorrelated, so that the distance is Mahalanobis's. It is scaled: 1 is that of a usual training image (the
root of their mean square).

The controller computes these figures with the same `embed` (toolkit.convert.training_embedding).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Dict, Optional

import cv2
import numpy as np

if TYPE_CHECKING:
    from ..pipeline.messages import Pixels

KEY, VERSION = "training_embedding", 1
"""Field of the manifest, and the version of `embed` in it."""
GRID, SAMPLED = 4, 32
"""Cells in each direction, and the side in pixels that an image is reduced to first."""
SIZE = GRID * GRID + 5
MOST = 100.0
"""Larger distances count as this, so that one frame cannot make a block's mean."""


def embed(image: Pixels) -> "np.ndarray[Any, Any]":
    """Return the embedding of u8 [height, width, 3] in RGB: f64 [SIZE], in shares of 255.

    The image is sampled, not averaged, which is twenty times as fast; each cell still averages 64 samples.
    """
    small = cv2.resize(image, (SAMPLED, SAMPLED), interpolation=cv2.INTER_LINEAR)
    colors = cv2.transform(small.astype(np.float32), _COLORS)
    mean, spread = cv2.meanStdDev(colors)
    cells = cv2.resize(colors, (GRID, GRID), interpolation=cv2.INTER_AREA)[..., 0]
    return np.concatenate((cells.ravel(), mean[1:, 0], spread[:, 0])).astype(np.float64)


_COLORS = np.array([[0.299, 0.587, 0.114], [1, -1, 0], [0, -1, 1]], np.float32) / 255
"""Luminance (ITU-R BT.601), red less green, blue less green."""


class TrainingDistance:
    """Distance of images from the training images of a bundle."""

    def __init__(self, figures: Dict[str, Any]) -> None:
        self._mean = np.array(figures["mean"], np.float64)
        self._whitening = np.array(figures["whitening"], np.float64)
        finite = np.isfinite(self._mean).all() and np.isfinite(self._whitening).all()
        if self._mean.shape != (SIZE,) or self._whitening.shape != (SIZE, SIZE) or not finite:
            raise ValueError("has another shape")

    @classmethod
    def of(cls, manifest: Dict[str, Any]) -> "Optional[TrainingDistance]":
        """Return the distance that the manifest has figures for; None if there are none that this code can use."""
        figures = manifest.get(KEY)
        try:
            return cls(figures) if figures and figures["version"] == VERSION else None
        except (ValueError, KeyError, TypeError):
            return None

    def measure(self, image: Pixels) -> float:
        """Return the distance of u8 [height, width, 3] in RGB, at most MOST; 1 is that of a usual training image."""
        white = self._whitening @ (embed(image) - self._mean)
        return min(math.sqrt(float(white @ white) / SIZE), MOST)
