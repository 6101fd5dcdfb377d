"""The user's cache folder: $XDG_CACHE_HOME/edge-vision-toolkit, by default ~/.cache/edge-vision-toolkit."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir(*parts: str) -> Path:
    """A folder below it, shared by all workspaces of this user; it may not exist yet."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not base.is_absolute():  # unset, empty or relative: the XDG specification says to ignore it
        base = Path.home() / ".cache"
    return base.joinpath("edge-vision-toolkit", *parts)
