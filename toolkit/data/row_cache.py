"""Rows of cached arrays, looked up by their source: a new version of a data set computes only new rows.

    KEY.npy                 an array (toolkit.data.array_cache)
    FAMILY-KEY.rows         the digest of the image behind each of its rows, one a line

Arrays of one family were made in the same way, so that equal images give equal rows: by the same backbone, for example.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit import files
from toolkit.data import array_cache

if TYPE_CHECKING:
    import numpy.typing as npt

_FAMILY_DIGITS = 16


def copy_rows(
    path: Path,
    family: str,
    digests: Sequence[str],
    shape: tuple[int, ...],
    dtype: npt.DTypeLike,
    rows: array_cache.RowWriter,
) -> list[int]:
    """Copy what arrays of the family beside `path` hold already, each row of `shape`; returns the indices still to be made."""
    missing = dict(enumerate(digests))
    listings = path.parent.glob(f"{family[:_FAMILY_DIGITS]}-*.rows")
    for listing in sorted(listings, key=lambda one: -one.stat().st_mtime_ns):
        if not missing:
            break
        places = {digest: row for row, digest in enumerate(_read(listing))}
        usable = {index: places[digest] for index, digest in missing.items() if digest in places}
        source = listing.with_name(f"{listing.stem.partition('-')[2]}.npy")
        array = array_cache.open_cached(source, (len(places), *shape), dtype) if usable else None
        if array is not None:
            for index, row in usable.items():
                rows.put(index, array[row : row + 1])
                del missing[index]
    return list(missing)


def remember_rows(path: Path, family: str, digests: Sequence[str]) -> None:
    """Note what the rows of the array at `path` were made from; one with two equal rows is not noted."""
    listing = path.with_name(f"{family[:_FAMILY_DIGITS]}-{path.stem}.rows")
    if not listing.exists() and len(set(digests)) == len(digests):
        with files.atomic_write(listing, durable=False) as stream:
            stream.write("\n".join(digests).encode())


def _read(listing: Path) -> list[str]:
    try:
        return listing.read_text(encoding="ascii").split("\n")
    except (OSError, UnicodeDecodeError):
        return []
