"""Room on the disks that are written to: the workspace's, the cache's, the one for temporary files."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from toolkit.doctor.finding import Check, Finding, Place, bad, care, good
from toolkit.system import wheel_cache

NEEDED_BYTES = 2_000_000_000
"""The demo's workspace with all wheels and models."""
LEAST_BYTES = 300_000_000


def look(place: Place) -> Iterator[Finding]:
    """One finding per file system."""
    seen: dict[int, Path] = {}
    for folder in (place.workspace.root, wheel_cache.cache_folder(), Path(tempfile.gettempdir())):
        there = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.is_dir())
        seen.setdefault(there.stat().st_dev, there)
    for folder in seen.values():
        free = shutil.disk_usage(folder).free
        told = f"{free / 1e9:.1f} GB free at {folder}"
        if free >= NEEDED_BYTES:
            yield good(told)
        else:
            remedy = "make room, or name another --workspace, XDG_CACHE_HOME or TMPDIR"
            yield (care if free >= LEAST_BYTES else bad)(told, remedy)


CHECK = Check("disk", "everything", look)
