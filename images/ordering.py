"""Order versions of Debian packages and wheels, and test whether one lies in a range of a vulnerability database."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from packaging.version import InvalidVersion, Version

Key = Callable[[str], Any]
"""Comparable form of a version."""


def debian(version: str) -> tuple[Any, ...]:
    """Return the comparable form of a Debian version, as deb-version(7) defines it."""
    epoch, colon, rest = version.partition(":")
    upstream, dash, revision = (rest if colon else version).rpartition("-")
    return (
        int(epoch) if colon else 0,
        _digits_apart(upstream if dash else revision),
        _digits_apart(revision if dash else "0"),
    )


def _digits_apart(text: str) -> tuple[Any, ...]:
    """Alternating characters and numbers: "~" sorts before the end, the end before letters, letters before the rest."""
    parts = re.findall(r"(\D*)(\d*)", text)
    return tuple((tuple(_rank(one) for one in (*letters, "")), int(digits or 0)) for letters, digits in parts)


def _rank(character: str) -> int:
    if character == "~":
        return -1
    return 0 if not character else ord(character) + (0 if character.isalpha() else 256)


def wheel(version: str) -> Version:
    """Return a wheel's version (PEP 440); an invalid one sorts before all others."""
    try:
        return Version(version)
    except InvalidVersion:
        return Version("0.dev0")


def in_events(version: str, events: Iterable[Mapping[str, str]], key: Key) -> tuple[bool, str]:
    """Return whether the events of an OSV range affect `version`, and the version that fixes it ("" if none does).

    The algorithm of OSV's schema: events in version order, each switching "affected" on or off.
    """
    affected, fixed, ours = False, "", key(version)
    for kind, bound in sorted(_bounds(events), key=lambda one: (one[1] != "0", key(one[1]))):
        match kind:
            case "introduced" if bound == "0" or ours >= key(bound):
                affected, fixed = True, ""
            case "fixed" if ours >= key(bound):
                affected = False
            case "fixed":
                fixed = fixed or bound
            case "last_affected" if ours > key(bound):
                affected = False
    return affected, fixed if affected else ""


def _bounds(events: Iterable[Mapping[str, str]]) -> list[tuple[str, str]]:
    return [(kind, bound) for event in events for kind, bound in event.items() if kind != "limit"]
