"""Divide pictures into train, validation and test: pure, stratified, and the same for the same seed.

Pictures that belong together (one group, or the same bytes) form a unit that never straddles two parts. Units are put
in an order that looks random but rests only on the seed and the unit's name, and each goes to the part that is furthest
below its share of the stratum (the units with the same labels). So every part is within one unit of its share.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from toolkit import digests


@dataclass(frozen=True, slots=True)
class Item:
    """One picture to place: `name` is unique in the data set and does not depend on where that lies."""

    name: str
    sha256: str
    label: str
    group: str | None = None


def divide(items: Sequence[Item], shares: Mapping[str, float], seed: int) -> dict[str, str]:
    """The part of each item by its name; `shares` are the fractions of the parts and add up to 1."""
    strata: dict[frozenset[str], list[list[Item]]] = defaultdict(list)
    for unit in _units(items):
        strata[frozenset(item.label for item in unit)].append(unit)
    placed: dict[str, str] = {}
    for stratum in strata.values():
        for unit, part in _deal(sorted(stratum, key=lambda unit: _order(unit, seed)), shares):
            placed |= {item.name: part for item in unit}
    return placed


def _deal(units: Sequence[list[Item]], shares: Mapping[str, float]) -> Iterable[tuple[list[Item], str]]:
    """Each unit in turn to the part that lacks most."""
    total = sum(len(unit) for unit in units)
    lacking = {part: share * total for part, share in shares.items()}
    for unit in units:
        part = max(lacking, key=lacking.__getitem__)
        lacking[part] -= len(unit)
        yield unit, part


def _order(unit: Sequence[Item], seed: int) -> str:
    return digests.of_value([seed, min(item.group or item.name for item in unit)])


def _units(items: Iterable[Item]) -> list[list[Item]]:
    """Items joined by a group or by the same bytes (union-find with path halving)."""
    parents: dict[tuple[str, str], tuple[str, str]] = {}

    def root(key: tuple[str, str]) -> tuple[str, str]:
        parents.setdefault(key, key)
        while parents[key] != key:
            parents[key] = key = parents[parents[key]]
        return key

    ordered = sorted(items, key=lambda item: item.name)
    for item in ordered:
        own = root(("bytes", item.sha256))
        if item.group is not None:
            parents[own] = root(("group", item.group))
    units: dict[tuple[str, str], list[Item]] = defaultdict(list)
    for item in ordered:
        units[root(("bytes", item.sha256))].append(item)
    return list(units.values())
