"""Load images into one array: decoded once, cached in the workspace by digest, and memory-mapped afterwards."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

from toolkit import hashing
from toolkit.data import array_cache, row_cache
from toolkit.data.decoding import DecodingError, decode_image
from toolkit.data.parallel import parallel_map
from toolkit.data.split_manifest import Image
from toolkit.errors import DataError, Problem
from toolkit.progress import Progress, Silent, format_bytes
from toolkit.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]


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
    read-only; without one it is in memory.

    Raises:
        DataError: with every image that is gone, damaged or not the one of the manifest.
        MachineError: the array does not fit on the disk.
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
    pixels = array_cache.load_or_create(path, shape, "u1", fill, talk.log)
    row_cache.remember_rows(path, family, digests)
    return cast("Pixels", pixels)


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
