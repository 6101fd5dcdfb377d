"""What the store keeps of earlier benches: the records of some bundles, and what they say together."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from toolkit.analysis import Comparison, Outlier, against_past, find_outliers
from toolkit.artifacts.bench import BenchRecord
from toolkit.artifacts.bundle import Bundle
from toolkit.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Records, oldest first, and the names of the bundles that they are of."""

    records: tuple[BenchRecord, ...]
    names: Mapping[str, str]
    """By the bundle's digest."""

    def compared(self) -> tuple[Comparison, ...]:
        """Each device against its own past."""
        return against_past(self.records, self.names)

    def outliers(self) -> tuple[Outlier, ...]:
        """Each device against those like it."""
        return find_outliers(self.records, self.names)


def kept(store: Store, bundles: Collection[Bundle]) -> Kept:
    """The records of `bundles`, and of others of their names."""
    wanted = {bundle.name for bundle in bundles}
    names = {bundle.digest: bundle.name for bundle in store.all(Bundle) if bundle.name in wanted}
    records = (record for bundle in names for record in store.all(BenchRecord, parent=bundle))
    return Kept(records=tuple(sorted(records, key=lambda record: (record.at, record.digest))), names=names)
