"""The workspace: writable, its database whole and of this version, no bundle lost."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from toolkit.artifacts.bundle import Bundle
from toolkit.doctor.finding import Check, Finding, Place, bad, care, good
from toolkit.store import Store


def look(place: Place) -> Iterator[Finding]:
    """Opens the database to read only, until SQLite itself says that it is whole."""
    root = place.workspace.root
    if not root.is_dir():
        yield care(f"no workspace yet at {root.absolute()}", "the first command makes it; or: toolkit doctor --fix")
        return
    if not os.access(root, os.W_OK | os.X_OK):
        yield bad(
            f"{root.absolute()} cannot be written",
            f"chown it to {os.environ.get('USER', 'yourself')}, or name another by --workspace",
        )
        return
    if not place.workspace.database.is_file():
        yield good(f"{root.absolute()}, nothing in it yet")
        return
    yield from _database(place)


def _database(place: Place) -> Iterator[Finding]:
    path = place.workspace.database
    try:
        said = _quick_check(path)
    except sqlite3.Error as error:
        said = str(error)
    if said != "ok":
        yield bad(f"{path} is damaged: {said}", f"put a copy back; what can be read: sqlite3 {path} .recover")
        return
    with Store(path) as store:
        bundles = store.all(Bundle)
    gone = [bundle.name for bundle in bundles if not place.workspace.absolute(bundle.path).is_dir()]
    yield good(f"{path}: whole, {path.stat().st_size / 1e6:.1f} MB, {len(bundles)} bundles")
    if gone:
        yield care(f"the folders of {len(gone)} bundles are gone, first {gone[0]}", "toolkit convert makes them again")


def _quick_check(path: Path) -> str:
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
        (told,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    connection.close()
    return str(told)


def mend(place: Place) -> str:
    """Make the folder."""
    place.workspace.root.mkdir(parents=True, exist_ok=True)
    return f"{place.workspace.root.absolute()} was made"


CHECK = Check("workspace", "everything", look, mend)
