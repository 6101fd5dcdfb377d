"""Regions of an image: rectangles as fractions of its width and height, independent of the frame's size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Iterable, Tuple

if TYPE_CHECKING:
    from .pipeline.messages import Pixels

_ROUNDING = 1e-6
"""Pixels by which a product such as 0.29 * 100 may be off."""


@dataclass(frozen=True)
class Region:
    """A rectangle; each edge is a part of the image from 0 (left, top) to 1 (right, bottom)."""

    left: float
    top: float
    right: float
    bottom: float

    def box(self, height: int, width: int) -> Tuple[slice, slice]:
        """Return the rows and columns of an image of this size that the region touches: at least one of each."""
        return _span(self.top, self.bottom, height), _span(self.left, self.right, width)

    def cut(self, image: Pixels) -> Pixels:
        """Return the region of u8 [height, width, …], as a view."""
        part: Pixels = image[self.box(*image.shape[:2])]
        return part


def _span(start: float, end: float, length: int) -> slice:
    """Return the pixels between two parts of a side; a pixel that is covered in part counts."""
    first = min(math.floor(start * length + _ROUNDING), length - 1)
    return slice(first, max(first + 1, math.ceil(end * length - _ROUNDING)))


def read_region(value: Any) -> Region:
    """Return the region that a settings file describes: [left, top, right, bottom].

    Raises:
        ValueError: it is not four numbers from 0 to 1, or has no area.
    """
    numbers = value if isinstance(value, (list, tuple)) else ()
    if len(numbers) != 4 or any(isinstance(edge, bool) or not isinstance(edge, (int, float)) for edge in numbers):
        raise ValueError(f"{value!r} is not [left, top, right, bottom]")
    region = Region(*(float(edge) for edge in numbers))
    if not (0 <= region.left < region.right <= 1 and 0 <= region.top < region.bottom <= 1):
        raise ValueError(f"{value!r} is not a rectangle with edges from 0 to 1")
    return region


def cover(image: Pixels, regions: Iterable[Region]) -> Pixels:
    """Return a copy of u8 [height, width, …] in which the regions are black."""
    covered: Pixels = image.copy()
    for region in regions:
        covered[region.box(*image.shape[:2])] = 0
    return covered
