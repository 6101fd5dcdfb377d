"""Procedural fabric textures for masks, scarves and hats, determined by the random generator."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

Colors = npt.NDArray[np.float32]

# Reds, greens and blues that masks are sold in: surgical blue and green, white, black, gray, rose, navy.
_SOLD = (
    (150, 195, 225),
    (165, 210, 195),
    (235, 238, 240),
    (35, 36, 40),
    (120, 122, 126),
    (225, 170, 180),
    (40, 55, 95),
)


def draw_fabric(rng: np.random.Generator, height: int, width: int) -> Colors:
    """A piece of cloth, f32 [height, width, 3], RGB in 0…255."""
    weave = _WEAVES[int(rng.integers(len(_WEAVES)))]
    ground = np.full((height, width, 3), random_color(rng), np.float32)
    grain = cv2.GaussianBlur(rng.normal(0, 9, (height, width, 1)).astype(np.float32), (0, 0), 0.8)[..., None]
    woven: Colors = np.clip(weave(ground, rng) + grain, 0, 255).astype(np.float32)
    return woven


def random_color(rng: np.random.Generator) -> Colors:
    """Two times in three a color that masks are sold in, else any; f32 [3]."""
    if rng.random() < 2 / 3:
        sold = np.array(_SOLD[int(rng.integers(len(_SOLD)))], np.float32)
        return np.clip(sold + rng.normal(0, 8, 3), 0, 255).astype(np.float32)
    dyed = rng.uniform(20, 245, 3)
    return np.asarray(0.7 * dyed + 0.3 * dyed.mean(), np.float32)


def _plain(ground: Colors, rng: np.random.Generator) -> Colors:
    del rng
    return ground


def _pleats(ground: Colors, rng: np.random.Generator) -> Colors:
    """Three folds across, each light on its ridge and dark below it."""
    rows = np.linspace(0, 1, len(ground), dtype=np.float32)
    phase = (rows * 3.6 + rng.uniform(0, 0.3)) % 1
    folded = 1.06 - 0.3 * np.exp(-(((phase - 0.9) / 0.08) ** 2)) - 0.08 * phase
    return np.asarray(ground * folded[:, None, None], np.float32)


def _stripes(ground: Colors, rng: np.random.Generator) -> Colors:
    period = int(rng.integers(6, 14))
    along = np.arange(ground.shape[int(rng.integers(2))])
    bands: Colors = np.asarray((along // period) % 2, np.float32)
    mixed = bands[:, None, None] if len(along) == len(ground) else bands[None, :, None]
    return np.asarray(ground * (1 - mixed) + random_color(rng) * mixed, np.float32)


def _checks(ground: Colors, rng: np.random.Generator) -> Colors:
    period = int(rng.integers(7, 14))
    squares = (np.indices(ground.shape[:2]) // period) % 2
    share: Colors = np.asarray(squares.mean(axis=0), np.float32)[..., None]
    return np.asarray(ground * (1 - share) + random_color(rng) * share, np.float32)


def _dots(ground: Colors, rng: np.random.Generator) -> Colors:
    period = int(rng.integers(12, 20))
    rows, columns = np.indices(ground.shape[:2]) % period - period / 2
    inside = (np.hypot(rows, columns) < period * 0.28).astype(np.float32)
    soft = cv2.GaussianBlur(inside, (0, 0), 0.8)[..., None]
    return np.asarray(ground * (1 - soft) + random_color(rng) * soft, np.float32)


def _mottled(ground: Colors, rng: np.random.Generator) -> Colors:
    noise = rng.normal(0, 1, (*ground.shape[:2], 1)).astype(np.float32)
    blurred = cv2.GaussianBlur(noise, (0, 0), float(rng.uniform(2, 5)))[..., None]
    return np.asarray(ground + 30 * blurred / max(float(blurred.std()), 1e-6), np.float32)


_WEAVES: tuple[Callable[[Colors, np.random.Generator], Colors], ...] = (
    _plain,
    _plain,
    _pleats,
    _pleats,
    _pleats,
    _stripes,
    _checks,
    _dots,
    _mottled,
)
