"""Split images into train, validation and test: pure, stratified, and deterministic for a seed.

Images that belong together (one group, or identical bytes) form a unit that is always in one subset. Units are put in a
pseudorandom order that depends only on the seed and the unit's name. Each goes to the subset that is furthest below its
share of the stratum (the units with the same labels). Every subset is therefore within one unit of its share.

Multi-label data has nearly as many combinations of labels as images, so it is split by label: the label with the fewest
remaining units first, each of its units to the subset that is furthest below its share of this label (iterative
stratification: Sechidis, Tsoumakas and Vlahavas, ECML 2011).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from toolkit import hashing


@dataclass(frozen=True, slots=True)
class Item:
    """One image to place: `name` is unique in the data set and does not depend on where that lies."""

    name: str
    sha256: str
    label: str
    group: str | None = None
    labels: tuple[str, ...] | None = None
    """All of them, in a set with many to an image."""


def split_dataset(items: Sequence[Item], shares: Mapping[str, float], seed: int) -> dict[str, str]:
    """The subset of each item by its name; `shares` are the fractions of the subsets and add up to 1."""
    units = sorted(_units(items), key=lambda unit: _order(unit, seed))
    multi_label = any(item.labels is not None for item in items)
    dealt = _deal_labels(units, shares) if multi_label else _deal_strata(units, shares)
    return {item.name: subset for unit, subset in dealt for item in unit}


def _deal_strata(units: Sequence[list[Item]], shares: Mapping[str, float]) -> Iterator[tuple[list[Item], str]]:
    strata: dict[frozenset[str], list[list[Item]]] = defaultdict(list)
    for unit in units:
        strata[frozenset(item.label for item in unit)].append(unit)
    for stratum in strata.values():
        yield from _deal(stratum, shares)


def _deal_labels(units: Sequence[list[Item]], shares: Mapping[str, float]) -> Iterator[tuple[list[Item], str]]:
    """The rarest label's units first; those without any at the end."""
    held = [Counter(label for item in unit for label in item.labels or ()) for unit in units]
    totals = sum(held, Counter[str]())
    lacking = {label: {subset: share * totals[label] for subset, share in shares.items()} for label in totals}
    capacity = {subset: share * sum(map(len, units)) for subset, share in shares.items()}
    left = dict(enumerate(held))
    while left:
        times = Counter(label for labels in left.values() for label in labels)
        rarest = min(times, key=lambda label: (times[label], label), default=None)
        for index in [index for index, labels in left.items() if rarest is None or rarest in labels]:
            wanting = lacking[rarest] if rarest else capacity
            subset = max(shares, key=lambda subset: (wanting[subset], capacity[subset]))
            for label, number in left.pop(index).items():
                lacking[label][subset] -= number
            capacity[subset] -= len(units[index])
            yield units[index], subset


def _deal(units: Sequence[list[Item]], shares: Mapping[str, float]) -> Iterator[tuple[list[Item], str]]:
    """Each unit in turn to the subset that lacks most."""
    total = sum(len(unit) for unit in units)
    lacking = {subset: share * total for subset, share in shares.items()}
    for unit in units:
        subset = max(lacking, key=lacking.__getitem__)
        lacking[subset] -= len(unit)
        yield unit, subset


def _order(unit: Sequence[Item], seed: int) -> str:
    return hashing.sha256_json([seed, min(item.group or item.name for item in unit)])


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
