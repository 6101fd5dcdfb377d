"""ROOT/current and ROOT/previous: links to releases, each set by one rename."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

from ..layout import CURRENT, PREVIOUS, RELEASES, release_path
from ..release import store


def linked_release(root: Path, name: str) -> Optional[str]:
    """Return the release that `current` or `previous` points to; None without a link."""
    link = root / name
    return link.readlink().name if link.is_symlink() else None


def switch(root: Path, release: str, before: Optional[str], *, back: bool = False) -> None:
    """Point `current` to the release and `previous` to the old one.

    If interrupted between the two renames, the old release serves; with `back`, the release, which was `previous`.
    """
    if before in (None, release):
        set_link(root, CURRENT, release)
        return
    links = [(PREVIOUS, before), (CURRENT, release)]
    for name, target in reversed(links) if back else links:
        set_link(root, name, target)


def restore(root: Path, release: Optional[str], previous: Optional[str]) -> None:
    """Restore both links; None, or a previous release that was pruned meanwhile, removes the link."""
    set_link(root, CURRENT, release)
    there = previous is not None and (root / RELEASES / previous).is_dir()
    set_link(root, PREVIOUS, previous if there else None)


def set_link(root: Path, name: str, release: Optional[str]) -> None:
    """Set a link by one rename, or remove it for None."""
    link, new = root / name, root / f".{name}.new"
    if release is None:
        if link.is_symlink():
            link.unlink()
        return
    if new.is_symlink():
        new.unlink()
    new.symlink_to(release_path(release))
    new.replace(link)
    store.sync(root)
