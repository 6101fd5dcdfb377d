"""Images that are nearly the same: found by perceptual hash, confirmed on thumbnails.

The hash (pHash: Zauner 2010) is 64 signs: whether each of the 8 x 8 lowest cosine waves of the 32 x 32 gray thumbnail is
above their median. Recompressing, resizing and lighting hardly change it. Hashes at most three bits apart agree in at
least one of four bands of 16 bits (four bands cannot all hold one of three differences), so only images that share a
band are compared: the search misses none of them and is far from comparing all with all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.data.parallel import parallel_map
from toolkit.progress import Progress

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]
    Indices = npt.NDArray[np.intp]

VERSION = 1
"""Raised whenever the same image would give another hash."""

_BANDS, _BITS = 4, 3
_EDGE = 32
_FLAT = 2.0  # gray levels: a thumbnail that varies less has nothing to compare
# Correlation of two thumbnails. Of Fashion-MNIST's 600 million pairs of a training and a test image ten lie above, all
# of them the same article; the next, at 0.9957, are other articles of one kind.
_ALIKE = 0.997
_MOST = 200_000  # pairs; a film's frames could give any number


@dataclass(frozen=True, slots=True)
class DuplicatePair:
    """Two images that look the same, by their places in what was searched; `correlation` of their thumbnails."""

    one: int
    other: int
    correlation: float


def perceptual_hash(image: Pixels) -> int | None:
    """The 64-bit hash of an image u8 [height, width, 3]; None where there is nothing to see."""
    import cv2
    import numpy as np

    small = thumbnail(image)
    if float(small.std()) < _FLAT:
        return None
    waves = cv2.dct(small)[:8, :8].ravel()
    bits = waves > np.median(waves[1:])
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def candidate_pairs(hashes: Sequence[int | None], subsets: Sequence[object]) -> tuple[tuple[int, int], ...]:
    """Every pair, in order, whose hashes are at most three bits apart and whose `subsets` differ; 200,000 are enough."""
    import numpy as np

    seen = np.array([index for index, one in enumerate(hashes) if one is not None], np.intp)
    values = np.array([one for one in hashes if one is not None], np.uint64)
    numbers = {subset: number for number, subset in enumerate(dict.fromkeys(subsets))}
    of_subset = np.array([numbers[subsets[index]] for index in seen], np.int64)
    pairs: set[tuple[int, int]] = set()
    for places in _sharing(values, of_subset):
        pairs |= {(min(pair), max(pair)) for pair in seen[places].tolist()}
        if len(pairs) >= _MOST:
            break
    return tuple(sorted(pairs)[:_MOST])


def confirm_pairs(
    pairs: Sequence[tuple[int, int]], paths: Sequence[Path], progress: Progress
) -> tuple[DuplicatePair, ...]:
    """Those of `pairs` whose thumbnails agree as well; reads only the images that are named."""
    import numpy as np

    from toolkit.data.decoding import decode_thumbnail

    named = sorted({index for pair in pairs for index in pair})
    if not named:
        return ()
    small = parallel_map(lambda index: decode_thumbnail(paths[index].read_bytes()), named, "comparing images", progress)
    flat = np.array(small, np.float32).reshape(len(named), -1)
    flat -= flat.mean(axis=1, keepdims=True)
    flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)
    rows = {index: row for row, index in enumerate(named)}
    judged = (DuplicatePair(one, other, float(flat[rows[one]] @ flat[rows[other]])) for one, other in pairs)
    return tuple(pair for pair in judged if pair.correlation >= _ALIKE)


def format_pairs(pairs: Sequence[DuplicatePair], names: Sequence[str], subsets: Sequence[str]) -> tuple[str, ...]:
    """For people: how many images between which subsets, then the closest few by name."""
    if not pairs:
        return ()
    between = Counter(tuple(sorted({subsets[pair.one], subsets[pair.other]})) for pair in pairs)
    counts = (
        f"{number} between {' and '.join(where)}" if len(where) > 1 else str(number)
        for where, number in sorted(between.items())
    )
    closest = sorted(pairs, key=lambda pair: -pair.correlation)[:5]
    return (
        f"pairs of images that look the same: {', '.join(counts)}",
        *(f"  {names[pair.one]} and {names[pair.other]}" for pair in closest),
        *((f"  … and {len(pairs) - 5} more",) if len(pairs) > 5 else ()),
    )


def thumbnail(image: Pixels) -> npt.NDArray[np.float32]:
    """Gray, f32 [32, 32] in 0…255."""
    import cv2
    import numpy as np

    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(gray, (_EDGE, _EDGE), interpolation=cv2.INTER_AREA), np.float32)


def _sharing(values: npt.NDArray[np.uint64], subsets: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.intp]]:
    """Pairs [n, 2] of places, band by band: sorted by a band's bits, each with the next, then the one after."""
    import numpy as np

    for band in range(_BANDS):
        keys = (values >> np.uint64(16 * band)) & np.uint64(0xFFFF)
        order = np.argsort(keys, kind="stable")
        keys, step = keys[order], 1
        live = np.arange(max(len(order) - 1, 0))
        while len(live := live[live + step < len(order)]):
            live = live[keys[live] == keys[live + step]]
            one, other = order[live], order[live + step]
            near = (subsets[one] != subsets[other]) & (_distance(values[one], values[other]) <= _BITS)
            yield np.stack([one[near], other[near]], axis=1)
            step += 1


def _distance(one: npt.NDArray[np.uint64], other: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """How many bits differ."""
    import numpy as np

    bits = np.unpackbits((one ^ other).view(np.uint8).reshape(-1, 8), axis=1)
    return np.asarray(bits.sum(axis=1), np.int64)
