"""The findings of a check: the state, and the next step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from toolkit.progress import Progress
from toolkit.workspace import Workspace

State = Literal["good", "warning", "bad"]
"""In order; something optional is missing; part of the pipeline will not work."""


@dataclass(frozen=True, slots=True)
class Place:
    """What to check."""

    workspace: Workspace
    inventory: Path | None
    """The inventory of --inventory; None: the default one."""
    progress: Progress


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of a check, with what to do about it."""

    state: State
    what: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """A check of this machine: `check` changes nothing, `fix` is optional."""

    name: str
    about: str
    """What needs it, in a few words."""
    check: Callable[[Place], Iterator[Finding]]
    fix: Callable[[Place], str] | None = None
    """Adds what is missing and changes nothing that exists; returns what it did."""


def good(what: str) -> Finding:
    """Return a finding that all is in order."""
    return Finding("good", what)


def warning(what: str, remedy: str) -> Finding:
    """Return a finding that something optional is missing."""
    return Finding("warning", what, remedy)


def bad(what: str, remedy: str) -> Finding:
    """Return a finding that part of the pipeline will not work."""
    return Finding("bad", what, remedy)
