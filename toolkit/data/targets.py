"""The right answers as arrays, and as numbers that two sides of the line can hold against each other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from toolkit.data.split_manifest import Picture

if TYPE_CHECKING:
    import numpy as np

PRESENT, ABSENT, UNSURE = 1, 0, -1


def truth_of(pictures: Sequence[Picture], classes: int) -> np.ndarray:
    """Labels int64 [n]; in a set with many labels to a picture int8 [n, classes] of PRESENT, ABSENT and UNSURE."""
    import numpy as np

    if not any(picture.labels is not None for picture in pictures):
        return np.array([picture.label for picture in pictures], np.int64)
    table = np.full((len(pictures), classes), ABSENT, np.int8)
    for row, picture in zip(table, pictures, strict=True):
        row[list(picture.indices)] = PRESENT
        row[list(picture.unsure)] = UNSURE
    return table


def as_number(indices: Iterable[int]) -> int:
    """A set of labels as one number: the sum of 2^index."""
    return sum(1 << index for index in indices)
