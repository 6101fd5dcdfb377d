"""Load images into one array: decoded once, cached in the workspace by digest, and memory-mapped afterwards.

Images that would take too much of the disk are not cached: each is decoded whenever it is needed.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from toolkit import hashing
from toolkit.data import array_cache, row_cache
from toolkit.data.decoding import DecodingError, decode_image
from toolkit.data.parallel import parallel_map
from toolkit.data.split_manifest import Image
from toolkit.errors import ConfigurationError, DataError, Problem
from toolkit.progress import Progress, Silent, format_bytes
from toolkit.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]
    Index = int | slice | Sequence[int] | npt.NDArray[np.int64]

BUDGET = "TOOLKIT_IMAGE_CACHE_GB"
"""Names how much one array of decoded images may take; unset: half of what is free on the workspace's disk."""


def load_images(
    images: Sequence[Image],
    size: tuple[int, int],
    crop: str,
    *,
    workspace: Workspace | None = None,
    progress: Progress | None = None,
) -> Pixels:
    """The images in order, u8 [n, height, width, 3] RGB, for size = (height, width); exactly what devices see.

    With a workspace the array is written to cache/images/KEY.npy as it is decoded, and comes back memory-mapped,
    read-only; one beyond the budget is not written, and what comes back decodes images as they are indexed. Without a
    workspace it is in memory.

    Raises:
        ConfigurationError: the budget in the environment is not a number.
        DataError: with every image that is gone, damaged or not the one of the manifest; beyond the budget, when it is
            indexed.
    """
    talk = progress or Silent()
    shape = (len(images), *size, 3)
    if workspace is None:
        return _in_memory(images, size, crop, talk)

    def fill(rows: array_cache.RowWriter) -> None:
        missing = row_cache.copy_rows(path, family, digests, shape[1:], "u1", rows)
        reused = f" ({len(images) - len(missing)} more are cached)" if len(missing) < len(images) else ""
        talk.log(f"  decoding {len(missing)} images once{reused}, into {format_bytes(math.prod(shape))} of {path}")
        _decode([images[at] for at in missing], size, crop, lambda at, row: rows.put(missing[at], row), talk)

    family, digests = cache_key((), size, crop), [image.sha256 for image in images]
    path = workspace.folder("cache", "images") / f"{cache_key(images, size, crop)}.npy"
    budget = _budget_bytes(path.parent)
    if math.prod(shape) > budget and not path.exists():
        talk.log(
            f"  {len(images)} images take {format_bytes(math.prod(shape))} decoded, more than {format_bytes(budget)}: "
            f"each is decoded whenever it is needed, which is slower; {BUDGET} sets the budget"
        )
        return cast("Pixels", ImagesOnDemand(images, size, crop))
    pixels = array_cache.load_or_create(path, shape, "u1", fill, talk.log)
    row_cache.remember_rows(path, family, digests)
    return cast("Pixels", pixels)


class ImagesOnDemand:
    """Stands for the array of `load_images`: u8 [n, height, width, 3]. Images are decoded each time they are indexed."""

    def __init__(self, images: Sequence[Image], size: tuple[int, int], crop: str) -> None:
        import numpy as np

        self.shape, self.dtype = (len(images), *size, 3), np.dtype(np.uint8)
        self._images, self._size, self._crop = images, size, crop

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: Index) -> Pixels:
        import numpy as np

        rows = np.arange(len(self))[index]
        chosen = [self._images[row] for row in np.atleast_1d(rows)]
        return _in_memory(chosen, self._size, self._crop, Silent()).reshape(*rows.shape, *self.shape[1:])


def _budget_bytes(folder: Path) -> int:
    setting = os.environ.get(BUDGET, "")
    try:
        return int(float(setting) * 1e9) if setting else shutil.disk_usage(folder).free // 2
    except (OverflowError, ValueError):
        raise ConfigurationError(
            f"{setting!r} is not a number", where=BUDGET, remedy="set it to gigabytes: 50"
        ) from None


def cache_key(images: Sequence[Image], size: tuple[int, int], crop: str) -> str:
    """What names the array: the images' bytes in order, how they are fitted, and the code that does it."""
    from toolkit.device.image_io import VERSION

    shown = [image.sha256 for image in images]
    return hashing.sha256_json({"images": shown, "size": list(size), "crop": crop, "code": VERSION})


def _in_memory(images: Sequence[Image], size: tuple[int, int], crop: str, progress: Progress) -> Pixels:
    import numpy as np

    array = np.empty((len(images), *size, 3), np.uint8)

    def put(index: int, rows: Pixels) -> None:
        array[index : index + 1] = rows

    _decode(images, size, crop, put, progress)
    return array


def _decode(
    images: Sequence[Image],
    size: tuple[int, int],
    crop: str,
    put: Callable[[int, Pixels], None],
    progress: Progress,
) -> None:
    """Hand every image, u8 [1, height, width, 3], to `put` with its index, in whatever order they are ready."""

    def decode(index: int) -> Problem | None:
        try:
            fitted = _fitted(images[index], size, crop)
        except (OSError, DecodingError) as error:
            remedy = "put it back as it was, or prepare the data again"
            return Problem(str(error), str(images[index].path), remedy)
        put(index, fitted[None])
        return None

    outcomes = parallel_map(decode, range(len(images)), "decoding images", progress)
    if problems := [problem for problem in outcomes if problem]:
        raise DataError.from_problems(problems)


def _fitted(image: Image, size: tuple[int, int], crop: str) -> Pixels:
    content = image.path.read_bytes()
    if hashing.sha256_bytes(content) != image.sha256:
        raise DecodingError("changed since the split was made")
    return decode_image(content, size, crop)
