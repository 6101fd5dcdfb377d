"""Free space for the workspace, the cache and temporary files."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from toolkit.doctor.finding import Check, Finding, Place, bad, good, warning
from toolkit.system.cache_dirs import cache_dir

NEEDED_BYTES = 2_000_000_000
"""What the demo's workspace needs with all wheels and models."""
LEAST_BYTES = 300_000_000


def check(place: Place) -> Iterator[Finding]:
    """Check each file system once."""
    folders: dict[int, Path] = {}
    for folder in (place.workspace.root, cache_dir("wheels"), Path(tempfile.gettempdir())):
        existing = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.is_dir())
        folders.setdefault(existing.stat().st_dev, existing)
    for folder in folders.values():
        free = shutil.disk_usage(folder).free
        text = f"{free / 1e9:.1f} GB free at {folder}"
        if free >= NEEDED_BYTES:
            yield good(text)
        else:
            remedy = "free some space, or choose another folder with --workspace, XDG_CACHE_HOME or TMPDIR"
            yield (warning if free >= LEAST_BYTES else bad)(text, remedy)


CHECK = Check("disk", "everything", check)
