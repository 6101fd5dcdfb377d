"""RandAugment: operations drawn for each image, all at one magnitude (Cubuk et al., CVPR workshops 2020).

Keras' layer of that name applies the same operation to every image of a batch and computes all of them. Here, each image
has its own operations, determined by the seed alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]

Operation = tuple[str, float]
"""The name of an operation, and its signed strength from -1 to 1."""
OPERATIONS = 2
"""For each image."""
LARGEST = 10
"""The magnitude of a strength of 1."""


def draw(magnitude: int, seed: Sequence[int]) -> tuple[Operation, ...]:
    """The operations of one image; none with a magnitude of 0."""
    if not magnitude:
        return ()
    rng, names = np.random.default_rng(seed), sorted(_OPERATIONS)
    chosen, signs = rng.integers(0, len(names), OPERATIONS), rng.integers(0, 2, OPERATIONS)
    strength = magnitude / LARGEST
    return tuple((names[one], strength if sign else -strength) for one, sign in zip(chosen, signs, strict=True))


def apply(image: Pixels, operations: Sequence[Operation]) -> Pixels:
    """An image u8 [height, width, 3] after all operations."""
    for name, strength in operations:
        image = _OPERATIONS[name](image, strength)
    return image


def _identity(image: Pixels, strength: float) -> Pixels:
    del strength
    return image


def _auto_contrast(image: Pixels, strength: float) -> Pixels:
    """Each channel stretched to 0…255."""
    del strength
    low, high = image.min(axis=(0, 1)).astype(np.float32), image.max(axis=(0, 1)).astype(np.float32)
    return _u8((image - low) * (255 / np.maximum(high - low, 1)))


def _equalize(image: Pixels, strength: float) -> Pixels:
    import cv2

    del strength
    return np.dstack([cv2.equalizeHist(np.ascontiguousarray(image[..., channel])) for channel in range(3)])


def _solarize(image: Pixels, strength: float) -> Pixels:
    """What is brighter than a threshold is inverted."""
    return np.where(image >= 256 * (1 - abs(strength)), 255 - image, image)


def _posterize(image: Pixels, strength: float) -> Pixels:
    """Four to eight bits of each channel are left."""
    return image & np.uint8(256 - (1 << round(4 * abs(strength))))


def _brightness(image: Pixels, strength: float) -> Pixels:
    return _blend(np.zeros_like(image), image, strength)


def _contrast(image: Pixels, strength: float) -> Pixels:
    return _blend(np.full_like(image, round(float(image.mean()))), image, strength)


def _color(image: Pixels, strength: float) -> Pixels:
    import cv2

    gray = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
    return _blend(np.dstack([gray] * 3), image, strength)


def _sharpness(image: Pixels, strength: float) -> Pixels:
    import cv2

    return _blend(cv2.blur(np.ascontiguousarray(image), (3, 3)), image, strength)


def _rotate(image: Pixels, strength: float) -> Pixels:
    import cv2

    height, width = image.shape[:2]
    return _warp(image, cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), 30 * strength, 1))


def _shear_x(image: Pixels, strength: float) -> Pixels:
    return _warp(image, np.array([[1, 0.3 * strength, -0.15 * strength * image.shape[0]], [0, 1, 0]]))


def _shear_y(image: Pixels, strength: float) -> Pixels:
    return _warp(image, np.array([[1, 0, 0], [0.3 * strength, 1, -0.15 * strength * image.shape[1]]]))


def _translate_x(image: Pixels, strength: float) -> Pixels:
    return _warp(image, np.array([[1, 0, 0.3 * strength * image.shape[1]], [0, 1, 0]]))


def _translate_y(image: Pixels, strength: float) -> Pixels:
    return _warp(image, np.array([[1, 0, 0], [0, 1, 0.3 * strength * image.shape[0]]]))


def _blend(plain: Pixels, image: Pixels, strength: float) -> Pixels:
    """0.1 to 1.9 times the image's difference from `plain`."""
    base = plain.astype(np.float32)
    return _u8(base + (1 + 0.9 * strength) * (image - base))


def _warp(image: Pixels, matrix: npt.NDArray[np.float64]) -> Pixels:
    import cv2

    height, width = image.shape[:2]
    warped = cv2.warpAffine(
        np.ascontiguousarray(image),
        matrix.astype(np.float64),
        (width, height),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    return np.asarray(warped, np.uint8)


def _u8(levels: npt.NDArray[np.float32]) -> Pixels:
    return np.asarray(np.clip(levels + 0.5, 0, 255), np.uint8)


_OPERATIONS: dict[str, Callable[[Pixels, float], Pixels]] = {
    "identity": _identity,
    "auto-contrast": _auto_contrast,
    "equalize": _equalize,
    "solarize": _solarize,
    "posterize": _posterize,
    "brightness": _brightness,
    "contrast": _contrast,
    "color": _color,
    "sharpness": _sharpness,
    "rotate": _rotate,
    "shear-x": _shear_x,
    "shear-y": _shear_y,
    "translate-x": _translate_x,
    "translate-y": _translate_y,
}
NAMES = tuple(sorted(_OPERATIONS))
