"""Augmentation of training images that is reproducible: what becomes of an image follows from seed, epoch and its index.

So a resumed run continues with exactly the images it would have seen, whatever the batches or threads. All params
are drawn for every image in one order, so that turning one kind on changes nothing in the others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from toolkit.experiment.training_schema import AugmentConfig

if TYPE_CHECKING:
    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]
    Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class AugmentParams:
    """What was drawn for one image in one epoch."""

    flip: bool
    degrees: float
    zoom: float
    """How large it becomes: 1 leaves it as it is."""
    scale: float
    """The share of each side that a crop keeps."""
    left: float
    """Where the crop lies between left (0) and right (1)."""
    top: float
    brightness: float
    """Added, as a share of white."""
    contrast: float
    """How far each pixel is from the mean: 1 leaves it as it is."""


def draw_params(table: AugmentConfig, seed: int, epoch: int, index: int) -> AugmentParams:
    """The parameters of the image at `index` of its subset, in that epoch."""
    flip, *rest = np.random.default_rng([seed, epoch, index]).random(8)
    turn, zoom, scale, left, top, brightness, contrast = rest
    return AugmentParams(
        flip=table.flip and bool(flip < 0.5),
        degrees=table.rotate * (2 * turn - 1),
        zoom=1 + table.zoom * (2 * zoom - 1),
        scale=1 - table.crop * scale,
        left=left,
        top=top,
        brightness=table.brightness * (2 * brightness - 1),
        contrast=1 + table.contrast * (2 * contrast - 1),
    )


def augment(images: Pixels, indices: npt.NDArray[np.integer], table: AugmentConfig, *, seed: int, epoch: int) -> Pixels:
    """`images` u8 [n, height, width, 3] varied, a new array of that shape; `indices` [n] are their places in the subset."""
    varied = np.empty_like(images)
    for row, index in enumerate(indices):
        varied[row] = augment_image(images[row], draw_params(table, seed, epoch, int(index)))
    return varied


def augment_image(image: Pixels, params: AugmentParams) -> Pixels:
    """One image u8 [height, width, 3] varied; what a turn or a smaller zoom uncovers mirrors what is beside it."""
    import cv2

    if params.flip:
        image = image[:, ::-1]
    height, width = image.shape[:2]
    if params.degrees or params.zoom != 1 or params.scale != 1:
        image = cv2.warpAffine(
            np.ascontiguousarray(image),
            geometry(params, height, width),
            (width, height),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT_101,
        )
    if params.brightness or params.contrast != 1:
        image = _lit(image, params)
    return image


def geometry(params: AugmentParams, height: int, width: int) -> Matrix:
    """Where each point goes, [2, 3]: turned and zoomed about the middle, then the cropped part stretched to the whole."""
    x, y = (width - 1) / 2, (height - 1) / 2
    angle = math.radians(params.degrees)
    cos, sin = params.zoom * math.cos(angle), params.zoom * math.sin(angle)
    turned = np.array([[cos, sin, x - cos * x - sin * y], [-sin, cos, y + sin * x - cos * y], [0, 0, 1]])
    left, top = params.left * (1 - params.scale) * (width - 1), params.top * (1 - params.scale) * (height - 1)
    cropped = np.array([[1 / params.scale, 0, -left / params.scale], [0, 1 / params.scale, -top / params.scale]])
    return np.asarray(cropped @ turned, np.float64)


def _lit(image: Pixels, params: AugmentParams) -> Pixels:
    levels = image.astype(np.float32)
    mean = levels.mean()
    relit = (levels - mean) * params.contrast + mean + 255 * params.brightness
    return np.asarray(np.clip(relit + 0.5, 0, 255), np.uint8)
