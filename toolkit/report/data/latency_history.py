"""Earlier records of the same models, and the last deployment of each device."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

from toolkit.artifacts.bench import BenchRecord
from toolkit.artifacts.bundle import Bundle, IrModel
from toolkit.artifacts.fleet import Deployment
from toolkit.artifacts.model import TrainedModel
from toolkit.report import formatting
from toolkit.report.data.bench_record_values import is_valid, p90_ms
from toolkit.store import Store


@dataclass(frozen=True, slots=True)
class LatencyPoint:
    """One valid latency of a converted model; `current` if this report shows its record."""

    name: str
    device: str
    accelerator: str
    quick: bool
    at: str
    p90_ms: float
    digest: str
    current: bool


def last_deployments(store: Store, devices: set[str]) -> tuple[Deployment, ...]:
    """The newest deployment of each of `devices` that changed it, whatever it was of; where none did, the newest."""
    newest = {each.device: each for each in sorted(store.all(Deployment), key=_recency)}
    return tuple(newest[device] for device in sorted(devices))


def _recency(each: Deployment) -> tuple[bool, str]:
    """A device without changes already had the release."""
    return each.outcome != "unchanged", each.at


@dataclass(frozen=True)
class RecordHistory:
    """Records of all converted models in a report, including those of replaced models."""

    names: Mapping[str, str]
    """Per bundle digest, its converted model."""
    records: tuple[BenchRecord, ...]
    """Those of a bundle follow one another."""

    @cached_property
    def _by_bundle(self) -> dict[str, tuple[BenchRecord, ...]]:
        return {bundle: tuple(records) for bundle, records in groupby(self.records, key=lambda record: record.parent)}

    def of(self, bundle: Bundle) -> tuple[BenchRecord, ...]:
        """The records of one bundle, oldest first."""
        return self._by_bundle.get(bundle.digest, ())

    def latencies(self, current: frozenset[str]) -> Iterator[LatencyPoint]:
        """Return the valid records with a p90; `current`: digests of the records in the report."""
        for r in self.records:
            p90, name = p90_ms(r), self.names[r.parent]
            if p90 is not None and is_valid(r):
                yield LatencyPoint(name, r.device, r.accelerator, r.quick, r.at, p90, r.digest, r.digest in current)


def load_history(store: Store, models: Iterable[TrainedModel]) -> RecordHistory:
    """Load the records of all models of the same experiment entries, including replaced ones."""
    places = {(m.experiment, m.network, m.head, m.stage) for m in models}
    names = {
        bundle.digest: formatting.variant_name(model, ir)
        for model in store.all(TrainedModel)
        if (model.experiment, model.network, model.head, model.stage) in places
        for ir in store.all(IrModel, parent=model.digest)
        for bundle in store.all(Bundle, parent=ir.digest)
    }
    return RecordHistory(names, tuple(record for bundle in names for record in store.all(BenchRecord, parent=bundle)))
