"""Converted models with their records on each device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from toolkit.artifacts.bench import BenchRecord
from toolkit.artifacts.bundle import Bundle, IrModel
from toolkit.artifacts.model import TrainedModel
from toolkit.report.data.bench_record_values import is_full, is_valid, p90_ms, rate
from toolkit.stats import intervals
from toolkit.store import Store

SCENARIOS = ("single-stream", "offline", "accuracy")


@dataclass(frozen=True, slots=True)
class DeviceResults:
    """One bundle on one device: its record for each scenario, or None."""

    device: str
    accelerator: str
    latency: BenchRecord | None
    offline: BenchRecord | None
    accuracy: BenchRecord | None

    @property
    def p90_ms(self) -> float | None:
        """The 90th percentile of the single-stream latency, where enough queries were made to print it."""
        return None if self.latency is None else p90_ms(self.latency)

    @property
    def rate(self) -> float | None:
        """Images per second, offline."""
        return None if self.offline is None else rate(self.offline)


@dataclass(frozen=True, slots=True)
class Variant:
    """One converted model."""

    model: TrainedModel
    ir: IrModel
    bundle: Bundle | None
    records: tuple[BenchRecord, ...]
    measured: tuple[DeviceResults, ...]

    @property
    def accuracy(self) -> float:
        """Of the IR itself on the test images."""
        return self.ir.parity.accuracy

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of it."""
        images = self.ir.parity.images
        return intervals.wilson(round(self.accuracy * images), images)

    def link(self, scenario: str) -> str:
        """Where a figure of it leads: the first record of that scenario that counts, else the form's own; see page._linked."""
        records = (record for m in self.measured for record in (m.latency, m.offline, m.accuracy) if record)
        match = next((record for record in records if record.scenario == scenario), None)
        return f"#record-{match.digest[:12]}" if match else f"#ir-{self.ir.digest[:12]}"

    @property
    def slowest_ms(self) -> float | None:
        """The p90 latency of the slowest device it was measured on."""
        return max((each.p90_ms for each in self.measured if each.p90_ms is not None), default=None)


def imported_models(store: Store) -> tuple[TrainedModel, ...]:
    """Return the newest imported model of each file name."""
    return tuple({model.network: model for model in store.all(TrainedModel) if model.imported}.values())


def imported_variants(store: Store) -> Iterator[Variant]:
    """Yield the converted models of the newest import of each file name; quick runs count if there are no full ones."""
    for model in imported_models(store):
        for ir in newest_irs(store, model):
            bundles = store.all(Bundle, parent=ir.digest)[-1:]
            records = {bundle.digest: store.all(BenchRecord, parent=bundle.digest) for bundle in bundles}
            quick_counts = not any(is_full(record) for group in records.values() for record in group)
            yield variant(model, ir, bundles, records, quick_counts)


def newest_irs(store: Store, model: TrainedModel) -> list[IrModel]:
    """One per precision and target; FP32 first."""
    newest = {(ir.target, ir.precision): ir for ir in store.all(IrModel, parent=model.digest)}
    return [newest[key] for key in sorted(newest, key=lambda key: (key[0], key[1] != "fp32", key[1]))]


def variant(
    model: TrainedModel,
    ir: IrModel,
    bundles: tuple[Bundle, ...],
    records: dict[str, tuple[BenchRecord, ...]],
    quick_counts: bool,
) -> Variant:
    """Return a converted model with the newest valid record of each device and scenario.

    Quick ones count only where nothing in the report is a full run (rule 2): `quick_counts`.
    """
    bundle = bundles[0] if bundles else None
    own = records[bundle.digest] if bundle else ()
    by_place: dict[tuple[str, str], dict[str, BenchRecord]] = {}
    for record in sorted(own, key=lambda record: record.at):
        if is_valid(record) and (quick_counts or record.scenario == "accuracy" or not record.quick):
            by_place.setdefault((record.device, record.accelerator), {})[record.scenario] = record
    places = sorted({(record.device, record.accelerator) for record in own})
    measured = tuple(DeviceResults(*place, *map(by_place.get(place, {}).get, SCENARIOS)) for place in places)
    return Variant(model, ir, bundle, own, measured)
