"""Reproducible augmentation of training images: the result depends only on the seed, the epoch and the image's index.

A resumed run therefore continues with exactly the same images, whatever the batches and threads. All parameters are drawn
for every image in one order, so that enabling one operation does not change the others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from toolkit.data.augmentation import rand_augment
from toolkit.data.augmentation.rand_augment import Operation
from toolkit.experiment.training_schema import AugmentConfig

_WIDEST = 4 / 3
"""The aspect ratio of a resized crop is between its inverse and this, as is usual since GoogLeNet (Szegedy et al., 2015)."""

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
    aspect: float = 1.0
    """Width of the crop over its height, both as shares of the image's."""
    saturation: float = 1.0
    """How far each pixel is from its gray: 1 leaves it as it is."""
    hue: float = 0.0
    """Turn of the color circle, as a share of it."""
    operations: tuple[Operation, ...] = ()
    """RandAugment's."""

    @property
    def crop(self) -> tuple[float, float]:
        """The shares of width and height that a crop keeps."""
        return min(1.0, self.scale * math.sqrt(self.aspect)), min(1.0, self.scale / math.sqrt(self.aspect))


def draw_params(table: AugmentConfig, seed: int, epoch: int, index: int) -> AugmentParams:
    """The parameters of the image at `index` of its subset, in that epoch."""
    flip, *rest = np.random.default_rng([seed, epoch, index]).random(12)
    turn, zoom, scale, left, top, brightness, contrast, area, aspect, saturation, hue = rest
    return AugmentParams(
        flip=table.flip and bool(flip < 0.5),
        degrees=table.rotate * (2 * turn - 1),
        zoom=1 + table.zoom * (2 * zoom - 1),
        scale=(1 - table.crop * scale) * math.sqrt(1 - table.resized_crop * area),
        left=left,
        top=top,
        brightness=table.brightness * (2 * brightness - 1),
        contrast=1 + table.contrast * (2 * contrast - 1),
        aspect=_WIDEST ** (2 * aspect - 1) if table.resized_crop else 1.0,
        saturation=1 + table.saturation * (2 * saturation - 1),
        hue=table.hue * (2 * hue - 1),
        operations=rand_augment.draw(table.rand_augment, [seed, epoch, index, 1]),
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
    if params.degrees or params.zoom != 1 or params.crop != (1, 1):
        image = cv2.warpAffine(
            np.ascontiguousarray(image),
            geometry(params, height, width),
            (width, height),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT_101,
        )
    if params.brightness or params.contrast != 1:
        image = _lit(image, params)
    if params.saturation != 1 or params.hue:
        image = _colored(image, params)
    return rand_augment.apply(image, params.operations)


def geometry(params: AugmentParams, height: int, width: int) -> Matrix:
    """Where each point goes, [2, 3]: turned and zoomed about the middle, then the cropped part stretched to the whole."""
    x, y = (width - 1) / 2, (height - 1) / 2
    angle = math.radians(params.degrees)
    cos, sin = params.zoom * math.cos(angle), params.zoom * math.sin(angle)
    turned = np.array([[cos, sin, x - cos * x - sin * y], [-sin, cos, y + sin * x - cos * y], [0, 0, 1]])
    across, down = params.crop
    left, top = params.left * (1 - across) * (width - 1), params.top * (1 - down) * (height - 1)
    cropped = np.array([[1 / across, 0, -left / across], [0, 1 / down, -top / down]])
    return np.asarray(cropped @ turned, np.float64)


def _lit(image: Pixels, params: AugmentParams) -> Pixels:
    levels = image.astype(np.float32)
    mean = levels.mean()
    relit = (levels - mean) * params.contrast + mean + 255 * params.brightness
    return np.asarray(np.clip(relit + 0.5, 0, 255), np.uint8)


def _colored(image: Pixels, params: AugmentParams) -> Pixels:
    """Saturation about each pixel's gray, then the hue turned."""
    import cv2

    levels = np.ascontiguousarray(image).astype(np.float32)
    gray = cv2.cvtColor(levels, cv2.COLOR_RGB2GRAY)[:, :, None]
    colors = np.clip(gray + params.saturation * (levels - gray), 0, 255)
    if params.hue:
        hsv = cv2.cvtColor(colors.astype(np.float32) / 255, cv2.COLOR_RGB2HSV)
        hsv[..., 0] = (hsv[..., 0] + 360 * params.hue) % 360
        colors = 255 * cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    return np.asarray(np.clip(colors + 0.5, 0, 255), np.uint8)
