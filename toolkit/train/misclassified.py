"""Contact sheet of misclassified images: the most confident errors of a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from toolkit import files

CELL = 160
"""Width and height in pixels of each image on the sheet."""
_CAPTION, _COLUMNS = 36, 6
MOST_DRAWN = 48
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def contact_sheet(pixels: np.ndarray, labels: np.ndarray, shares: np.ndarray, names: Sequence[str], path: Path) -> int:
    """Draw the wrongly named images into a PNG, the surest mistake first, with what they are and what was said.

    Args:
        pixels: The images, u8 [n, h, w, 3] RGB.
        labels: What they are, [n]; [n, classes] of 1, 0 and -1 where they may have many labels.
        shares: The model's probabilities, [n, classes].
        names: The labels' names.
        path: Where to write it, whole.

    Returns:
        How many were drawn: all mistakes, but at most 48; with none the sheet says so.
    """
    if labels.ndim == 1:
        cells = [
            _cell(pixels[i], f"is {names[labels[i]]}", _prediction(shares[i], names))
            for i in worst_mistakes(labels, shares)[:MOST_DRAWN]
        ]
    else:
        cells = [
            _cell(pixels[i], _held(labels[i], names), _wrong(labels[i, k], shares[i, k], names[k]))
            for i, k in worst_decisions(labels, shares)[:MOST_DRAWN]
        ]
    _write(cells, "no mistakes", path)
    return len(cells)


def draw_sheet(pixels: Sequence[np.ndarray], captions: Sequence[tuple[str, str]], path: Path) -> None:
    """Draw the first 48 images with two lines each into a PNG."""
    pairs = zip(pixels[:MOST_DRAWN], captions[:MOST_DRAWN], strict=True)
    _write([_cell(image, *lines) for image, lines in pairs], "no doubts", path)


def _write(cells: Sequence[np.ndarray], nothing: str, path: Path) -> None:
    sheet = _grid(cells or [_cell(np.full((CELL, CELL, 3), 255, np.uint8), nothing, "")])
    _, encoded = cv2.imencode(".png", sheet[..., ::-1])
    with files.atomic_write(path) as stream:
        stream.write(encoded.tobytes())


def worst_mistakes(labels: np.ndarray, shares: np.ndarray) -> list[int]:
    """The indices of wrongly named images, the surest mistake first; equals in their own order."""
    predicted = shares.argmax(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    order = np.argsort(-shares[wrong, predicted[wrong]], kind="stable")
    return [int(index) for index in wrong[order]]


def worst_decisions(labels: np.ndarray, shares: np.ndarray) -> list[tuple[int, int]]:
    """Each image that has a label wrong, with that which is furthest off; the surest mistake first."""
    distance = np.where(labels >= 0, np.abs(shares - (labels == 1)), 0)
    wrong = ((shares > 0.5) != (labels == 1)) & (labels >= 0)
    worst = np.where(wrong, distance, -1).argmax(axis=1)
    images = np.flatnonzero(wrong.any(axis=1))
    order = np.argsort(-distance[images, worst[images]], kind="stable")
    return [(int(index), int(worst[index])) for index in images[order]]


def _held(labels: np.ndarray, names: Sequence[str]) -> str:
    return f"is {', '.join(names[index] for index in np.flatnonzero(labels == 1).tolist()) or 'nothing'}"


def _wrong(label: int, share: float, name: str) -> str:
    return f"{'missed' if label == 1 else 'predicted'} {name} {share:.1%}"


def _prediction(shares: np.ndarray, names: Sequence[str]) -> str:
    best = int(shares.argmax())
    return f"said {names[best]} {shares[best]:.1%}"


def _cell(image: np.ndarray, *lines: str) -> np.ndarray:
    """An image, fitted and centered, over its caption: u8 [CELL + caption, CELL, 3]."""
    cell = np.full((CELL + _CAPTION, CELL, 3), 255, np.uint8)
    height, width = image.shape[:2]
    scale = (CELL - 4) / max(height, width)
    small = cv2.resize(image, (max(1, round(width * scale)), max(1, round(height * scale))))
    top, left = (CELL - small.shape[0]) // 2, (CELL - small.shape[1]) // 2
    cell[top : top + small.shape[0], left : left + small.shape[1]] = small
    for number, line in enumerate(lines):
        place, text = (3, CELL + 14 + 15 * number), line.encode("ascii", "replace").decode()
        cv2.putText(cell, text, place, _FONT, _size_to_fit(text), (0, 0, 0), 1, cv2.LINE_AA)
    return cell


def _size_to_fit(text: str) -> float:
    """The size at which a line is no wider than its cell, and no larger than need be."""
    (width, _), _ = cv2.getTextSize(text, _FONT, 0.4, 1)
    return float(min(0.4, 0.4 * (CELL - 6) / max(width, 1)))


def _grid(cells: Sequence[np.ndarray]) -> np.ndarray:
    blank = np.full_like(cells[0], 255)
    columns = min(_COLUMNS, len(cells))
    padded = [*cells, *[blank] * (-len(cells) % columns)]
    return np.vstack([np.hstack(padded[start : start + columns]) for start in range(0, len(padded), columns)])
