"""Stored benchmark records of bundles, and their analysis."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from toolkit.analysis import Outlier, Regression, detect_regressions, find_outliers
from toolkit.artifacts.bench import BenchRecord
from toolkit.artifacts.bundle import Bundle
from toolkit.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRecords:
    """Records, oldest first, and the names of their bundles."""

    records: tuple[BenchRecord, ...]
    names: Mapping[str, str]
    """By the bundle's digest."""

    def compared(self) -> tuple[Regression, ...]:
        """Each device compared with its earlier runs."""
        return detect_regressions(self.records, self.names)

    def outliers(self) -> tuple[Outlier, ...]:
        """Devices that differ from their peers."""
        return find_outliers(self.records, self.names)


def load_records(store: Store, bundles: Collection[Bundle]) -> StoredRecords:
    """The records of `bundles` and of other bundles with their names."""
    bundle_names = {bundle.name for bundle in bundles}
    names = {bundle.digest: bundle.name for bundle in store.all(Bundle) if bundle.name in bundle_names}
    records = (record for bundle in names for record in store.all(BenchRecord, parent=bundle))
    return StoredRecords(records=tuple(sorted(records, key=lambda record: (record.at, record.digest))), names=names)
