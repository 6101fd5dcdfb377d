"""How versions of Debian's packages and of wheels are ordered, and whether one lies in a range that a database names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from packaging.version import InvalidVersion, Version

Key = Callable[[str], Any]
"""A version as something that can be compared."""


def debian(version: str) -> tuple[Any, ...]:
    """A Debian version as something that can be compared: deb-version(7)."""
    epoch, colon, rest = version.partition(":")
    upstream, dash, revision = (rest if colon else version).rpartition("-")
    return (
        int(epoch) if colon else 0,
        _digits_apart(upstream if dash else revision),
        _digits_apart(revision if dash else "0"),
    )


def _digits_apart(text: str) -> tuple[Any, ...]:
    """Characters and numbers in turn: "~" before the end, the end before letters, letters before all else."""
    parts = re.findall(r"(\D*)(\d*)", text)
    return tuple((tuple(_rank(one) for one in (*words, "")), int(digits or 0)) for words, digits in parts)


def _rank(character: str) -> int:
    if character == "~":
        return -1
    return 0 if not character else ord(character) + (0 if character.isalpha() else 256)


def wheel(version: str) -> Version:
    """A wheel's version (PEP 440); what is none counts as older than all."""
    try:
        return Version(version)
    except InvalidVersion:
        return Version("0.dev0")


def in_events(version: str, events: Iterable[Mapping[str, str]], key: Key) -> tuple[bool, str]:
    """Whether `version` is affected by what OSV calls a range's events, and the version that ends it ("" when none does).

    The algorithm is that of OSV's schema: events in order of their versions, each switching it on or off.
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
