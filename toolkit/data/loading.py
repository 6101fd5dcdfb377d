"""From pictures to one array, decoded once: kept under the workspace by digest and memory-mapped the next time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit import digests
from toolkit.artifacts import Workspace
from toolkit.data.manifest import Picture
from toolkit.data.threads import for_each
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

    With a workspace the array is kept in cache/pictures/KEY.npy and comes back memory-mapped, read-only.

    Raises:
        DataError: with every picture that is gone, damaged or not the one of the manifest.
    """
    import numpy as np

    if workspace is None:
        return _decoded(pictures, size, crop, progress or Silent())
    path = workspace.folder("cache", "pictures") / f"{cache_key(pictures, size, crop)}.npy"
    kept = _kept(path, (len(pictures), *size, 3))
    if kept is not None:
        return kept
    array = _decoded(pictures, size, crop, progress or Silent())
    with digests.written_whole(path) as stream:
        np.save(stream, array)
    kept = _kept(path, array.shape)
    return array if kept is None else kept


def _kept(path: Path, shape: tuple[int, ...]) -> Pixels | None:
    """The array at `path`, mapped; None if it is not there or not whole."""
    import numpy as np

    try:
        array: Pixels = np.load(path, mmap_mode="r")
    except (OSError, EOFError, ValueError):
        return None
    return array if array.shape == shape else None


def cache_key(pictures: Sequence[Picture], size: tuple[int, int], crop: str) -> str:
    """What names the array: the pictures' bytes in order, how they are fitted, and the code that does it."""
    from toolkit.device.pictures import VERSION

    shown = [picture.sha256 for picture in pictures]
    return digests.of_value({"pictures": shown, "size": list(size), "crop": crop, "code": VERSION})


def _decoded(pictures: Sequence[Picture], size: tuple[int, int], crop: str, progress: Progress) -> Pixels:
    import numpy as np

    array = np.empty((len(pictures), *size, 3), np.uint8)

    def decode(index: int) -> Problem | None:
        try:
            array[index] = _fitted(pictures[index], size, crop)
        except (OSError, ValueError) as error:
            remedy = "put it back as it was, or prepare the data again"
            return Problem(str(error).removeprefix("picture: "), str(pictures[index].path), remedy)
        return None

    outcomes = for_each(decode, range(len(pictures)), "decoding pictures", progress)
    if problems := [problem for problem in outcomes if problem]:
        raise DataError.from_problems(problems)
    return array


def _fitted(picture: Picture, size: tuple[int, int], crop: str) -> Pixels:
    from toolkit.device.pictures import fit, read_picture

    content = picture.path.read_bytes()
    if digests.of_bytes(content) != picture.sha256:
        raise ValueError("changed since the split was made")
    return fit(read_picture(content), size, crop)
