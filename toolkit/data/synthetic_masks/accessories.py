"""Paint masks on faces, and similar-looking accessories: sunglasses, a scarf, a hat, a mask pulled under the chin.

All shapes are drawn in the frame of the eyes: the origin midway between them, x towards the right eye, y down the face,
one unit the distance between the eyes. The nose ends near y = 0.7, the mouth is near 1.1, the chin near 1.75.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np
import numpy.typing as npt

from toolkit.data.synthetic_masks.fabric import Colors, draw_fabric, random_color

Pixels = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float32]
_FINE = 4  # edges are drawn so many times finer and averaged


@dataclass(frozen=True, slots=True)
class EyeFrame:
    """Where a face's own axes lie in its image; all in pixels (x, y)."""

    middle: Points
    across: Points
    down: Points

    @classmethod
    def between(cls, left: tuple[float, float], right: tuple[float, float]) -> Self:
        """The frame of two eyes."""
        one, other = np.array(left, np.float32), np.array(right, np.float32)
        across = other - one
        return cls(np.asarray((one + other) / 2, np.float32), across, np.array([-across[1], across[0]], np.float32))

    def at(self, points: Sequence[tuple[float, float]]) -> Points:
        """Points of the face [n, 2] in pixels of the image."""
        x, y = np.array(points, np.float32).T[..., None]
        return np.asarray(self.middle + x * self.across + y * self.down, np.float32)


def draw_mask(image: Pixels, frame: EyeFrame, rng: np.random.Generator, *, under_chin: bool = False) -> Pixels:
    """A mask over nose and mouth, or pulled down so that both show; u8 [H, W, 3] RGB like `image`."""
    top = rng.normal(1.4, 0.04) if under_chin else rng.normal(0.42, 0.05)
    bottom = rng.normal(2.0, 0.05) if under_chin else rng.normal(1.8, 0.06)
    wide, side = rng.normal(0.86, 0.04), (top + bottom) / 2 + 0.1
    lobe = rng.normal(0.12, 0.08)
    straps = [[(sign * wide * 0.98, top + 0.24), (sign * 1.28, lobe)] for sign in (-1, 1)]
    straps += [[(sign * wide * 0.9, side), (sign * 1.3, lobe + 0.45)] for sign in (-1, 1)]
    strapped = _strapped(image, [frame.at(strap) for strap in straps], rng)
    half = [(0.0, top - 0.06), (0.35, top + 0.02), (wide, top + 0.22), (wide * 0.93, side), (0.5, bottom - 0.08)]
    outline = [*half, (0.0, bottom), *((-x, y) for x, y in reversed(half[1:]))]
    return _drape(strapped, frame, outline, rng)


def draw_scarf(image: Pixels, frame: EyeFrame, rng: np.random.Generator) -> Pixels:
    """A scarf below the mouth, across the whole width."""
    top = rng.normal(1.62, 0.05)
    tilt = rng.normal(0, 0.08)
    upper = [(-3.0, top - 0.35 + tilt), (-0.9, top - 0.05 + tilt), (0.0, top + 0.12), (0.9, top - 0.05 - tilt)]
    return _drape(image, frame, [*upper, (3.0, top - 0.35 - tilt), (3.0, 4.0), (-3.0, 4.0)], rng)


def draw_hat(image: Pixels, frame: EyeFrame, rng: np.random.Generator) -> Pixels:
    """A cap pulled down to the brows."""
    brim = rng.normal(-0.52, 0.05)
    lower = [(1.25, brim + 0.12), (0.6, brim - 0.02), (0.0, brim - 0.06), (-0.6, brim - 0.02), (-1.25, brim + 0.12)]
    return _drape(image, frame, [(-1.3, -2.6), (0.0, -3.0), (1.3, -2.6), *lower], rng)


def draw_sunglasses(image: Pixels, frame: EyeFrame, rng: np.random.Generator) -> Pixels:
    """Dark glasses: two lenses, the bridge and the temples."""
    wide, tall = rng.uniform(0.33, 0.42), rng.uniform(0.24, 0.32)
    corner = [(-1.0, -0.7), (-0.6, -1.0), (0.6, -1.0), (1.0, -0.7), (0.75, 0.75), (0.0, 1.0), (-0.75, 0.75)]
    tone = rng.uniform(8, 60) * rng.uniform(0.8, 1.2, 3)
    out = image.astype(np.float32)
    for sign in (-1, 1):
        lens = frame.at([(sign * (0.5 + x * wide), 0.04 + y * tall) for x, y in corner])
        out = _mixed(out, tone.astype(np.float32), _coverage(image.shape, _rounded(lens)) * rng.uniform(0.86, 1))
    bars = [[(-0.2, -0.06), (0.2, -0.06)], [(-0.85, -0.1), (-1.5, -0.04)], [(0.85, -0.1), (1.5, -0.04)]]
    for bar in bars:
        out = _mixed(out, tone.astype(np.float32), _line(image.shape, frame.at(bar), 3))
    return out.astype(np.uint8)


def _drape(image: Pixels, frame: EyeFrame, outline: Sequence[tuple[float, float]], rng: np.random.Generator) -> Pixels:
    """Cloth within the outline: warped with the face, shaded round it, lit as the face is, casting a thin shadow."""
    cover = _coverage(image.shape, _rounded(frame.at(outline)))
    painted = _warped(draw_fabric(rng, 120, 160), frame, outline, image.shape)
    painted *= _shade(image.shape, frame, rng) * _light(image, cover)
    shadow = cv2.GaussianBlur(cover, (0, 0), 3)[..., None] * rng.uniform(0.15, 0.4)
    return _mixed(image.astype(np.float32) * (1 - shadow), painted, cover).astype(np.uint8)


def _warped(piece: Colors, frame: EyeFrame, outline: Sequence[tuple[float, float]], shape: tuple[int, ...]) -> Colors:
    """The piece laid on the outline's box, with the tilt of the face."""
    xs, ys = np.array(outline, np.float32).T
    box = frame.at([(xs.min(), ys.min()), (xs.max(), ys.min()), (xs.max(), ys.max()), (xs.min(), ys.max())])
    height, width = piece.shape[:2]
    corners = np.array([(0, 0), (width - 1, 0), (width - 1, height - 1), (0, height - 1)], np.float32)
    turn = cv2.getPerspectiveTransform(corners, box)
    laid: Colors = cv2.warpPerspective(piece, turn, (shape[1], shape[0]), borderMode=cv2.BORDER_REFLECT)
    return laid


def _shade(shape: tuple[int, ...], frame: EyeFrame, rng: np.random.Generator) -> Colors:
    """Darker towards the sides, as on a barrel, and lighter over the ridge of the nose; [H, W, 1]."""
    rows, columns = np.indices(shape[:2], np.float32)
    off = np.stack([columns, rows], -1) - frame.middle
    unit = float(frame.across @ frame.across)
    x, y = off @ frame.across / unit, off @ frame.down / unit
    ridge = 0.08 * np.exp(-((x / 0.18) ** 2) - ((y - 0.7) / 0.3) ** 2)
    barrel = 1 - 0.35 * np.clip(x, -1.3, 1.3) ** 2 + rng.uniform(-0.12, 0.12) * np.clip(x, -1.3, 1.3)
    return np.asarray((barrel + ridge)[..., None], np.float32)


def _light(image: Pixels, cover: Colors) -> Colors:
    """How light falls on the covered part, from the face below: its slow changes only; [H, W, 1]."""
    slow = cv2.GaussianBlur(image, (0, 0), 9).mean(-1)
    mean = max(float(slow[cover > 0.5].mean()) if (cover > 0.5).any() else 1.0, 1.0)
    return np.asarray((np.clip(slow / mean, 0.6, 1.4) ** 0.7)[..., None], np.float32)


def _strapped(image: Pixels, straps: Sequence[Points], rng: np.random.Generator) -> Pixels:
    """Thin ear loops."""
    tone = random_color(rng) * 0.85 if rng.random() < 0.5 else np.full(3, rng.uniform(190, 235), np.float32)
    out = image.astype(np.float32)
    for strap in straps:
        out = _mixed(out, tone.astype(np.float32), _line(image.shape, strap, 2) * 0.8)
    return out.astype(np.uint8)


def _mixed(below: Colors, above: Colors, cover: Colors) -> Colors:
    """`above` laid over `below` where `cover` [H, W] is 1."""
    mixed: Colors = below + (above - below) * cover[..., None]
    return np.clip(mixed, 0, 255).astype(np.float32)


def _coverage(shape: tuple[int, ...], outline: Points) -> Colors:
    """How much of each pixel lies inside the outline, f32 [H, W] in 0…1."""
    fine = np.zeros((shape[0] * _FINE, shape[1] * _FINE), np.uint8)
    cv2.fillPoly(fine, [np.round(outline * _FINE).astype(np.int32)], 255)
    return _averaged(fine, shape)


def _line(shape: tuple[int, ...], points: Points, width: int) -> Colors:
    """The same for a line through two points."""
    fine = np.zeros((shape[0] * _FINE, shape[1] * _FINE), np.uint8)
    one, other = np.round(points * _FINE).astype(np.int32).tolist()
    cv2.line(fine, one, other, 255, width * _FINE)
    return _averaged(fine, shape)


def _averaged(fine: Pixels, shape: tuple[int, ...]) -> Colors:
    averaged = cv2.resize(fine, (shape[1], shape[0]), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    soft: Colors = cv2.GaussianBlur(averaged, (0, 0), 0.7)
    return soft


def _rounded(corners: Points) -> Points:
    """A closed outline with its corners cut three times (Chaikin 1974)."""
    for _ in range(3):
        following = np.roll(corners, -1, axis=0)
        cut = np.stack([0.75 * corners + 0.25 * following, 0.25 * corners + 0.75 * following], axis=1)
        corners = cut.reshape(-1, 2).astype(np.float32)
    return corners
