"""Which bundle is meant: a folder, the first digits of a digest, or a name."""

from __future__ import annotations

from pathlib import Path

from toolkit.artifacts import Bundle, Workspace
from toolkit.errors import UsageError
from toolkit.store import Store

_SHORTEST = 4
"""Digits of a digest that count as one."""


def find_bundle(word: str, workspace: Workspace, store: Store) -> Path:
    """The bundle's folder. Of several with the same name, the one that was made last.

    Raises:
        UsageError: nothing fits, or several digests do; says what there is.
    """
    if (Path(word) / "manifest.json").is_file():
        return Path(word)
    bundles = store.all(Bundle)
    found = [bundle for bundle in bundles if len(word) >= _SHORTEST and bundle.digest.startswith(word)]
    found = found or [bundle for bundle in bundles if bundle.name == word][-1:]
    if len(found) == 1:
        return workspace.absolute(found[0].path)
    known = ", ".join(f"{bundle.name} ({bundle.short})" for bundle in found or bundles) or "none yet"
    problem = "fits several bundles" if found else "is neither a bundle's folder nor its digest or name"
    raise UsageError(problem, where=word, remedy=f"in {workspace.root} there are: {known}")
