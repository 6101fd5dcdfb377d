"""The workspace: writable, with an intact database and all its bundles."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from toolkit.artifacts.bundle import Bundle
from toolkit.doctor.finding import Check, Finding, Place, bad, good, warning
from toolkit.progress import format_bytes
from toolkit.store import Store


def check(place: Place) -> Iterator[Finding]:
    """Check the folder and the database, which is opened read-only until SQLite finds it intact."""
    root = place.workspace.root
    if not root.is_dir():
        yield warning(
            f"no workspace yet at {root.absolute()}", "the first command creates it; or: toolkit doctor --fix"
        )
        return
    if not os.access(root, os.W_OK | os.X_OK):
        yield bad(
            f"{root.absolute()} is not writable",
            f"chown it to {os.environ.get('USER', 'yourself')}, or choose another --workspace",
        )
        return
    if not place.workspace.database.is_file():
        yield good(f"{root.absolute()}, empty")
        return
    yield from _database(place)


def _database(place: Place) -> Iterator[Finding]:
    path = place.workspace.database
    try:
        result = _quick_check(path)
    except sqlite3.Error as error:
        result = str(error)
    if result != "ok":
        yield bad(
            f"{path} is damaged: {result}", f"restore a copy; to rescue what is readable: sqlite3 {path} .recover"
        )
        return
    with Store(path) as store:
        bundles = store.all(Bundle)
    missing = [bundle.name for bundle in bundles if not place.workspace.absolute(bundle.path).is_dir()]
    yield good(f"{path}: intact, {format_bytes(path.stat().st_size)}, {len(bundles)} bundles")
    if missing:
        yield warning(
            f"the folders of {len(missing)} bundles are missing, first {missing[0]}",
            "create them again: toolkit convert",
        )


def _quick_check(path: Path) -> str:
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
        (result,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    connection.close()
    return str(result)


def fix(place: Place) -> str:
    """Create the folder."""
    place.workspace.root.mkdir(parents=True, exist_ok=True)
    return f"{place.workspace.root.absolute()} was created"


CHECK = Check("workspace", "everything", check, fix)
