"""Label arrays, and labels as numbers that can be compared between the controller and devices."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from toolkit.data.split_manifest import Image

if TYPE_CHECKING:
    import numpy as np

PRESENT, ABSENT, UNSURE = 1, 0, -1


def label_array(images: Sequence[Image], classes: int) -> np.ndarray:
    """Labels int64 [n]; in a set with many labels to an image int8 [n, classes] of PRESENT, ABSENT and UNSURE."""
    import numpy as np

    if not any(image.labels is not None for image in images):
        return np.array([image.label for image in images], np.int64)
    table = np.full((len(images), classes), ABSENT, np.int8)
    for row, image in zip(table, images, strict=True):
        row[list(image.indices)] = PRESENT
        row[list(image.unsure)] = UNSURE
    return table


def label_bitmask(indices: Iterable[int]) -> int:
    """A set of labels as one number: the sum of 2^index."""
    return sum(1 << index for index in indices)
