"""From pictures to one array, decoded once: kept under the workspace by digest and memory-mapped the next time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

from toolkit import hashing
from toolkit.artifacts import Workspace
from toolkit.data import array_cache
from toolkit.data.parallel import for_each
from toolkit.data.split_manifest import Picture
from toolkit.errors import DataError, Problem
from toolkit.progress import Progress, Silent

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]


def load_pictures(
    pictures: Sequence[Picture],
    size: tuple[int, int],
    crop: str,
    *,
    workspace: Workspace | None = None,
    progress: Progress | None = None,
) -> Pixels:
    """The pictures in order, u8 [n, height, width, 3] RGB, for size = (height, width); exactly what devices see.

    With a workspace the array is written to cache/pictures/KEY.npy as it is decoded, and comes back memory-mapped,
    read-only; without one it is in memory.

    Raises:
        DataError: with every picture that is gone, damaged or not the one of the manifest.
        MachineError: the array does not fit on the disk.
    """
    talk = progress or Silent()
    shape = (len(pictures), *size, 3)
    if workspace is None:
        return _in_memory(pictures, size, crop, talk)

    def fill(rows: array_cache.Rows) -> None:
        talk.say(
            f"  decoding {len(pictures)} pictures once, into {array_cache.size_in_words(math.prod(shape))} of {path}"
        )
        _decode(pictures, size, crop, rows.put, talk)

    path = workspace.folder("cache", "pictures") / f"{cache_key(pictures, size, crop)}.npy"
    return cast("Pixels", array_cache.kept(path, shape, "u1", fill, talk.say))


def cache_key(pictures: Sequence[Picture], size: tuple[int, int], crop: str) -> str:
    """What names the array: the pictures' bytes in order, how they are fitted, and the code that does it."""
    from toolkit.device.image_io import VERSION

    shown = [picture.sha256 for picture in pictures]
    return hashing.of_value({"pictures": shown, "size": list(size), "crop": crop, "code": VERSION})


def _in_memory(pictures: Sequence[Picture], size: tuple[int, int], crop: str, progress: Progress) -> Pixels:
    import numpy as np

    array = np.empty((len(pictures), *size, 3), np.uint8)

    def put(index: int, rows: Pixels) -> None:
        array[index : index + 1] = rows

    _decode(pictures, size, crop, put, progress)
    return array


def _decode(
    pictures: Sequence[Picture],
    size: tuple[int, int],
    crop: str,
    put: Callable[[int, Pixels], None],
    progress: Progress,
) -> None:
    """Hand every picture, u8 [1, height, width, 3], to `put` with its index, in whatever order they are ready."""

    def decode(index: int) -> Problem | None:
        try:
            fitted = _fitted(pictures[index], size, crop)
        except (OSError, ValueError) as error:
            remedy = "put it back as it was, or prepare the data again"
            return Problem(str(error).removeprefix("picture: "), str(pictures[index].path), remedy)
        put(index, fitted[None])
        return None

    outcomes = for_each(decode, range(len(pictures)), "decoding pictures", progress)
    if problems := [problem for problem in outcomes if problem]:
        raise DataError.from_problems(problems)


def _fitted(picture: Picture, size: tuple[int, int], crop: str) -> Pixels:
    from toolkit.device.image_io import fit, read_picture

    content = picture.path.read_bytes()
    if hashing.of_bytes(content) != picture.sha256:
        raise ValueError("changed since the split was made")
    return fit(read_picture(content), size, crop)
