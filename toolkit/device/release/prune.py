"""Room for what comes: releases that nobody will go back to are removed, and files that no folder has."""

from __future__ import annotations

import fcntl
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, List, Set

from . import store
from .store import Layout

KEEP_RELEASES = 2
"""So many releases stay besides the one that serves and the one before it."""
ORPHAN_AGE_S = 3600.0
"""What has lain in the store for so long without being part of anything was left behind by a transfer that was cut."""


def prune(root: Path, keep: int, coming: Layout) -> List[str]:
    """Remove releases, but for those that `current` and `previous` lead to, `coming`, and the `keep` newest others.

    Then what the store has for no folder, unless it is `coming`. Gives the releases that went: none while a benchmark runs.
    """
    releases = root / "releases"
    kept = {root / coming["place"], _link_target(root, "current"), _link_target(root, "previous")}
    with _benchmarks_blocked(root) as quiet:
        if not quiet:
            return []
        found = [folder for folder in releases.glob("[!.]*") if folder.is_dir() and folder not in kept]
        old = sorted(found, key=lambda folder: folder.stat().st_mtime, reverse=True)[keep:]
        for folder in old:
            _remove(folder)
        _sweep(root / "store", {file["sha256"] for file in coming["files"]})
    return [folder.name for folder in old]


def _link_target(root: Path, name: str) -> Path:
    link = root / name
    return root / link.readlink() if link.is_symlink() else link


@contextmanager
def _benchmarks_blocked(root: Path) -> Iterator[bool]:
    """Whether none runs, nor starts before the end of the with-block."""
    path = root / "bench.lock"
    if not path.exists():
        yield True
        return
    with open(path, "rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True


def _remove(folder: Path) -> None:
    """Renamed first, so that half of it is never taken for a release."""
    away = folder.with_name("." + folder.name + ".old")
    folder.rename(away)
    store.remove(away)
    sums = store.checksum_path(folder)
    if sums.exists():
        sums.unlink()


def _sweep(folder: Path, wanted: Set[str]) -> None:
    """Files of the store that no other folder has, the index of files that are gone, and removals that were cut."""
    for path in folder.glob("*[!s]"):  # what it holds and what is arriving; an index ends in .chunks
        alone = path.lstat().st_nlink == 1 and path.name.partition(".")[0] not in wanted
        if alone and time.time() - path.lstat().st_mtime > ORPHAN_AGE_S:
            path.unlink()
    for index in folder.glob("*.chunks"):
        if not index.with_suffix("").exists():
            index.unlink()
    for half in folder.parent.glob("releases/.*.old"):
        store.remove(half)
