"""What a check sees, and what it says: one finding or more, each with the next thing to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from toolkit.progress import Progress
from toolkit.workspace import Workspace

State = Literal["good", "care", "bad"]
"""In order; or something optional is missing; or part of the line will not work."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where to look."""

    workspace: Workspace
    inventory: Path | None
    """As the user names it; None: the one that is found."""
    progress: Progress


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is so, and what to do about it."""

    state: State
    what: str
    remedy: str = ""


Look = Callable[[Place], Iterator[Finding]]
Mend = Callable[[Place], str]
"""Does what is safe to do unasked: adds what is missing, changes nothing that is there; gives what it did."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check: `look` never changes anything, `mend` may be missing."""

    name: str
    about: str
    """What needs it, in a few words."""
    look: Look
    mend: Mend | None = None


def good(what: str) -> Finding:
    """In order."""
    return Finding("good", what)


def care(what: str, remedy: str) -> Finding:
    """Something optional is missing."""
    return Finding("care", what, remedy)


def bad(what: str, remedy: str) -> Finding:
    """Part of the line will not work."""
    return Finding("bad", what, remedy)
