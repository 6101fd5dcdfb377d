"""Remove old releases, and stored files that no folder links to."""

from __future__ import annotations

import fcntl
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, List, Set

from ..layout import BENCH_LOCK, CURRENT, PREVIOUS, RELEASES, STORE
from . import store
from .store import Layout

KEEP_RELEASES = 2
"""Older releases to keep, besides the current and the previous one."""
ORPHAN_AGE_S = 3600.0
"""Age after which unused files in the store count as left over from an interrupted transfer."""


def prune(root: Path, keep: int, coming: Layout) -> List[str]:
    """Remove releases except `current`, `previous`, `coming` and the `keep` newest others; return the removed ones.

    Then remove stored files that no folder links to, unless they belong to `coming`. Do nothing while a benchmark is
    running.
    """
    releases = root / RELEASES
    retained = {root / coming["place"], _link_target(root, CURRENT), _link_target(root, PREVIOUS)}
    with _benchmarks_blocked(root) as quiet:
        if not quiet:
            return []
        others = [folder for folder in releases.glob("[!.]*") if folder.is_dir() and folder not in retained]
        old = sorted(others, key=lambda folder: folder.stat().st_mtime, reverse=True)[keep:]
        for folder in old:
            _remove(folder)
        _sweep(root / STORE, {file["sha256"] for file in coming["files"]})
    return [folder.name for folder in old]


def _link_target(root: Path, name: str) -> Path:
    link = root / name
    return root / link.readlink() if link.is_symlink() else link


@contextmanager
def _benchmarks_blocked(root: Path) -> Iterator[bool]:
    """Yield whether no benchmark runs; if so, none starts before the end of the with-block."""
    path = root / BENCH_LOCK
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
    """Remove a release; it is renamed first, so that a partial one never counts as a release."""
    away = folder.with_name("." + folder.name + ".old")
    folder.rename(away)
    store.remove(away)
    sums = store.checksum_path(folder)
    if sums.exists():
        sums.unlink()


def _sweep(folder: Path, referenced: Set[str]) -> None:
    """Remove stored files without other links, chunk lists of removed files, and leftovers of interrupted removals."""
    for path in folder.glob("*[!s]"):  # complete and partial files; chunk lists end in .chunks
        alone = path.lstat().st_nlink == 1 and path.name.partition(".")[0] not in referenced
        if alone and time.time() - path.lstat().st_mtime > ORPHAN_AGE_S:
            path.unlink()
    for index in folder.glob("*.chunks"):
        if not index.with_suffix("").exists():
            index.unlink()
    for half in folder.parent.glob(f"{RELEASES}/.*.old"):
        store.remove(half)
