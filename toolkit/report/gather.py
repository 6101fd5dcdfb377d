"""Take from the store what one report is about, and join it: split → model → IR → bundle → records.

Newer results replace older ones of the same trial; nothing is read from anywhere else but the split manifests, which
say what the right answers were.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from toolkit import data, digests, statistics
from toolkit.artifacts import (
    BenchRecord,
    Bundle,
    BundleCheck,
    Deployment,
    Growth,
    IrModel,
    Split,
    TrainedModel,
    Workspace,
)
from toolkit.data.numbering import number
from toolkit.data.truth import as_number
from toolkit.errors import DataError
from toolkit.experiment import Experiment
from toolkit.report.past import Past, last_given, valid_latencies
from toolkit.report.readings import is_full, is_valid, p90_ms, rate
from toolkit.store import Store

STAGES = ("top", "fine-tune")
SCENARIOS = ("single-stream", "offline", "accuracy")


@dataclass(frozen=True, slots=True)
class Measured:
    """One bundle on one device: the record that counts of each scenario, or None."""

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
        """Pictures per second, offline."""
        return None if self.offline is None else rate(self.offline)


@dataclass(frozen=True, slots=True)
class Variant:
    """One form of one trained model that can be shipped."""

    model: TrainedModel
    ir: IrModel
    bundle: Bundle | None
    records: tuple[BenchRecord, ...]
    measured: tuple[Measured, ...]

    @property
    def accuracy(self) -> float:
        """Of the IR itself on the test pictures."""
        return self.ir.parity.accuracy

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of it."""
        pictures = self.ir.parity.pictures
        return statistics.wilson(round(self.accuracy * pictures), pictures)

    @property
    def slowest_ms(self) -> float | None:
        """The p90 latency of the slowest device it was measured on."""
        return max((each.p90_ms for each in self.measured if each.p90_ms is not None), default=None)


@dataclass(frozen=True)
class Gathered:
    """All that one report shows."""

    name: str
    title: str
    plan: Experiment | None
    """The experiment's file, where one is known."""
    published: str | None
    splits: tuple[Split, ...]
    models: tuple[TrainedModel, ...]
    variants: tuple[Variant, ...]
    deployments: tuple[Deployment, ...]
    given: tuple[Deployment, ...]
    """The newest deployment of each device that these bundles were ever sent to, whatever it was of."""
    past: tuple[Past, ...]
    checks: tuple[BundleCheck, ...]
    """What `toolkit check` found of these bundles."""
    growths: tuple[Growth, ...]
    """What `toolkit parity` found of these forms."""
    tests: dict[str, tuple[data.Picture, ...]]
    """Per split digest its test pictures, in the manifest's order; none where the manifest is gone."""

    @cached_property
    def truth(self) -> dict[str, tuple[int, ...]]:
        """Per split digest the right answers of its test pictures, written as predictions are."""
        return {digest: tuple(map(_answer, found)) for digest, found in self.tests.items()}

    @cached_property
    def picture_sets(self) -> dict[str, str]:
        """Per split digest the digest that the bench gives its test pictures."""
        return {split.digest: _picture_set(self.tests[split.digest], split.labels) for split in self.splits}

    @cached_property
    def records(self) -> tuple[BenchRecord, ...]:
        """Every bench record of these models, whether it counts or not."""
        return tuple(record for variant in self.variants for record in variant.records)

    @cached_property
    def at(self) -> str:
        """When the newest measurement was made or a device last changed; empty when there is none."""
        changes = (deployment for deployment in self.deployments if deployment.outcome != "unchanged")
        stamps = [record.at for record in self.records] + [change.at for change in changes]
        return max(stamps, default="")

    @cached_property
    def devices(self) -> tuple[str, ...]:
        """The devices that were measured, by name."""
        return tuple(sorted({record.device for record in self.records}))

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know about the data, such as "synthetic masks"."""
        kept = {split.digest for split in self.splits}
        told = [split.note for split in self.splits] + [m.note for m in self.models if m.parent not in kept]
        return tuple(dict.fromkeys(note for note in told if note))

    @cached_property
    def only_quick(self) -> bool:
        """Whether the speeds compared here come from quick runs."""
        chosen = [m.latency or m.offline for variant in self.variants for m in variant.measured]
        return any(record is not None and record.quick for record in chosen)


def gather(workspace: Workspace, store: Store, experiment: Experiment | None) -> Gathered:
    """What the store holds of `experiment`, or of the one trained last.

    Raises:
        DataError: nothing was trained yet.
    """
    models = _models(store, experiment)
    irs = [(model, ir) for model in models for ir in _newest_irs(store, model)]
    bundles = {ir.digest: store.all(Bundle, parent=ir.digest)[-1:] for _, ir in irs}
    records = {b.digest: store.all(BenchRecord, parent=b.digest) for found in bundles.values() for b in found}
    quick_counts = not any(is_full(record) for found in records.values() for record in found)
    deployments = tuple(d for found in bundles.values() for b in found for d in store.all(Deployment, parent=b.digest))
    splits = tuple(filter(None, (store.get(Split, digest) for digest in dict.fromkeys(m.parent for m in models))))
    return Gathered(
        name=models[0].experiment,
        title=(experiment.title if experiment else "") or models[0].experiment,
        plan=experiment,
        published=experiment.published if experiment else None,
        splits=splits,
        models=models,
        variants=tuple(_variant(model, ir, bundles[ir.digest], records, quick_counts) for model, ir in irs),
        deployments=deployments,
        checks=tuple(c for found in bundles.values() for b in found for c in store.all(BundleCheck, parent=b.digest)),
        growths=tuple(growth for _, ir in irs for growth in store.all(Growth, parent=ir.digest)[-1:]),
        given=last_given(store, {deployment.device for deployment in deployments}),
        past=tuple(
            valid_latencies(store, models, frozenset(record.digest for found in records.values() for record in found))
        ),
        tests={split.digest: _tests(split, workspace) for split in splits},
    )


def _models(store: Store, experiment: Experiment | None) -> tuple[TrainedModel, ...]:
    """The newest model of each network, head and stage, networks in the order they were first trained or are listed."""
    everything = [model for model in store.all(TrainedModel) if model.experiment]  # others were made elsewhere
    name = experiment.name if experiment else next((model.experiment for model in reversed(everything)), "")
    newest = {(m.network, m.head, m.stage): m for m in everything if m.experiment == name and _asked(m, experiment)}
    if not newest:
        what = f'nothing is trained yet for "{name}"' if name else "nothing is trained yet"
        raise DataError(what, where="the workspace's toolkit.db", remedy="toolkit run EXPERIMENT.toml, or toolkit demo")
    listed = experiment.matrix.networks if experiment else tuple(dict.fromkeys(network for network, _, _ in newest))
    order = sorted(newest, key=lambda key: (listed.index(key[0]), key[1], STAGES.index(key[2])))
    return tuple(newest[key] for key in order)


def _asked(model: TrainedModel, experiment: Experiment | None) -> bool:
    """Whether the experiment, as it stands now, still names this model."""
    if experiment is None:
        return True
    matrix, stages = experiment.matrix, {stage.name for stage in experiment.stages}
    return model.network in matrix.networks and model.head in matrix.heads and model.stage in stages


def _newest_irs(store: Store, model: TrainedModel) -> list[IrModel]:
    """One per precision and target; FP32 first."""
    newest = {(ir.target, ir.precision): ir for ir in store.all(IrModel, parent=model.digest)}
    return [newest[key] for key in sorted(newest, key=lambda key: (key[0], key[1] != "fp32", key[1]))]


def _variant(
    model: TrainedModel,
    ir: IrModel,
    bundles: tuple[Bundle, ...],
    records: dict[str, tuple[BenchRecord, ...]],
    quick_counts: bool,
) -> Variant:
    bundle = bundles[0] if bundles else None
    own = records[bundle.digest] if bundle else ()
    places = sorted({(record.device, record.accelerator) for record in own})
    measured = tuple(
        Measured(device, accelerator, *(_counting(own, device, accelerator, s, quick_counts) for s in SCENARIOS))
        for device, accelerator in places
    )
    return Variant(model, ir, bundle, own, measured)


def _counting(
    records: Iterable[BenchRecord], device: str, accelerator: str, scenario: str, quick_counts: bool
) -> BenchRecord | None:
    """The newest valid record of a place; a quick one only where nothing in the report is a full run (rule 2)."""
    found = [
        record
        for record in records
        if (record.device, record.accelerator, record.scenario) == (device, accelerator, scenario)
        and is_valid(record)
        and (quick_counts or scenario == "accuracy" or not record.quick)
    ]
    return max(found, key=lambda record: record.at, default=None)


def _tests(split: Split, workspace: Workspace) -> tuple[data.Picture, ...]:
    """The test pictures; none where the manifest is gone or was changed."""
    try:
        return tuple(picture for picture in data.read_manifest(split, workspace) if picture.part == "test")
    except DataError:
        return ()


def _answer(picture: data.Picture) -> int:
    """The label's index; of many labels the sum of 2^index."""
    return picture.label if picture.labels is None else as_number(picture.labels)


def _picture_set(pictures: Sequence[data.Picture], labels: tuple[str, ...]) -> str:
    """Of the list that the bench sends along with the pictures, which it numbers."""
    if any(picture.labels is not None for picture in pictures):
        return ""  # the bench's list of such pictures is of another form
    return digests.of_bytes(number(pictures, labels)[1])
