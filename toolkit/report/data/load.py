"""Load the data of a report from the store and join it: split → model → IR → bundle → records.

Newer results replace older ones of the same trial; nothing is read from anywhere else but the split manifests, which
say what the right answers were.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from toolkit import data, hashing
from toolkit.analysis import Outlier, Regression, detect_regressions, find_outliers
from toolkit.artifacts.bench import BenchRecord, VariantChoice
from toolkit.artifacts.bundle import Bundle, BundleCheck, LayerErrorReport
from toolkit.artifacts.captured_image import CameraReading
from toolkit.artifacts.dataset import Split
from toolkit.artifacts.fleet import Deployment, ShadowRun
from toolkit.artifacts.model import TrainedModel
from toolkit.data.device_listing import build_device_listing
from toolkit.data.targets import label_bitmask
from toolkit.errors import DataError
from toolkit.experiment.schema import Experiment
from toolkit.report.data.bench_record_values import is_full
from toolkit.report.data.latency_history import LatencyPoint, last_deployments, load_history
from toolkit.report.data.retraining import RetrainingData, load_retraining
from toolkit.report.data.variants import Variant, imported_models, imported_variants, newest_irs, variant
from toolkit.store import Store
from toolkit.workspace import Workspace

STAGES = ("top", "fine-tune")
IMPORTED = "imported"
"""Name of a report on imported models only."""


@dataclass(frozen=True)
class ReportData:
    """The data of a report."""

    name: str
    title: str
    plan: Experiment | None
    """The experiment's file, where one is known."""
    published: str | None
    splits: tuple[Split, ...]
    models: tuple[TrainedModel, ...]
    variants: tuple[Variant, ...]
    deployments: tuple[Deployment, ...]
    last_deployments: tuple[Deployment, ...]
    """The newest deployment, of any bundle, to each device that these bundles were deployed to."""
    past: tuple[LatencyPoint, ...]
    compared: tuple[Regression, ...]
    """Comparisons of each device with its earlier runs."""
    outliers: tuple[Outlier, ...]
    """Devices that differ from similar ones."""
    earlier: tuple[BenchRecord, ...]
    """Records of these forms that are not of `variants`: of models and bundles that were replaced."""
    imported_variants: tuple[Variant, ...]
    """Converted models that were imported."""
    checks: tuple[BundleCheck, ...]
    """Results of `toolkit check` for these bundles."""
    layer_errors: tuple[LayerErrorReport, ...]
    """Results of `toolkit parity` for these models."""
    tests: dict[str, tuple[data.Image, ...]]
    """Per split digest its test images, in the manifest's order; none where the manifest is gone."""
    variant_choices: tuple[VariantChoice, ...] = ()
    """The fastest variant of these models on each kind of device."""
    retraining: RetrainingData | None = None
    """The newest retraining, if there was one."""
    shadow_runs: tuple[ShadowRun, ...] = ()
    """Comparisons of these bundles with a serving release on live frames."""
    cameras: tuple[CameraReading, ...] = ()
    """The newest reading of each device's camera, on any release."""
    workspace_option: str = ""
    """The workspace option of the commands printed on the page."""

    @cached_property
    def truth(self) -> dict[str, tuple[int, ...]]:
        """Per split digest the right answers of its test images, written as predictions are."""
        return {digest: tuple(map(_answer, tests)) for digest, tests in self.tests.items()}

    def is_at_chance(self, variant: Variant) -> bool:
        """Return whether the model is not significantly better than always predicting the most frequent class."""
        model, truth = variant.model, self.truth.get(variant.model.parent, ())
        if model.evaluation.multilabel:
            return False
        chance = max(Counter(truth).values()) / len(truth) if truth else 1 / len(model.labels)
        return variant.interval[0] <= chance

    @cached_property
    def image_sets(self) -> dict[str, str]:
        """Per split digest the digest that the bench gives its test images."""
        return {split.digest: _image_set(self.tests[split.digest], split.labels) for split in self.splits}

    @cached_property
    def records(self) -> tuple[BenchRecord, ...]:
        """Return all bench records of these models, valid or not."""
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
        """Return a note about the data, such as "synthetic masks"."""
        known = {split.digest for split in self.splits}
        notes = [split.note for split in self.splits] + [m.note for m in self.models if m.parent not in known]
        return tuple(dict.fromkeys(note for note in notes if note))

    @cached_property
    def only_quick(self) -> bool:
        """Whether the speeds compared here come from quick runs."""
        chosen = [m.latency or m.offline for variant in self.variants for m in variant.measured]
        return any(record is not None and record.quick for record in chosen)


def load_report(workspace: Workspace, store: Store, experiment: Experiment | None) -> ReportData:
    """Return the data of `experiment`, or of the experiment trained last.

    Raises:
        DataError: nothing was trained yet.
    """
    models = _models(store, experiment)
    irs = [(model, ir) for model in models for ir in newest_irs(store, model)]
    bundles = {ir.digest: store.all(Bundle, parent=ir.digest)[-1:] for _, ir in irs}
    history = load_history(store, models)
    records = {bundle.digest: history.of(bundle) for latest in bundles.values() for bundle in latest}
    quick_counts = not any(is_full(record) for group in records.values() for record in group)
    current = frozenset(record.digest for group in records.values() for record in group)
    deployments = tuple(
        d for latest in bundles.values() for b in latest for d in store.all(Deployment, parent=b.digest)
    )
    splits = tuple(filter(None, (store.get(Split, digest) for digest in dict.fromkeys(m.parent for m in models))))
    return ReportData(
        name=models[0].experiment or IMPORTED,
        title=(experiment.title if experiment else "") or models[0].experiment or "Imported models",
        plan=experiment,
        published=experiment.published if experiment else None,
        splits=splits,
        models=models,
        variants=tuple(variant(model, ir, bundles[ir.digest], records, quick_counts) for model, ir in irs),
        deployments=deployments,
        checks=tuple(c for latest in bundles.values() for b in latest for c in store.all(BundleCheck, parent=b.digest)),
        layer_errors=tuple(report for _, ir in irs for report in store.all(LayerErrorReport, parent=ir.digest)[-1:]),
        last_deployments=last_deployments(store, {deployment.device for deployment in deployments}),
        past=tuple(history.latencies(current)),
        compared=detect_regressions(history.records, history.names),
        outliers=find_outliers(history.records, history.names),
        earlier=tuple(record for record in history.records if record.digest not in current),
        imported_variants=tuple(imported_variants(store)),
        tests={split.digest: _tests(split, workspace) for split in splits},
        variant_choices=tuple(choice for model in models for choice in store.all(VariantChoice, parent=model.digest)),
        retraining=load_retraining(store, models[0].experiment),
        cameras=tuple({reading.device: reading for reading in store.all(CameraReading)}.values()),
        shadow_runs=tuple(
            r for latest in bundles.values() for b in latest for r in store.all(ShadowRun, parent=b.digest)
        ),
    )


def _models(store: Store, experiment: Experiment | None) -> tuple[TrainedModel, ...]:
    """The newest model of each network, head and stage, networks in the order they were first trained or are listed."""
    everything = [model for model in store.all(TrainedModel) if model.experiment]  # others were made elsewhere
    if not everything and experiment is None and (adopted := imported_models(store)):
        return adopted
    name = experiment.name if experiment else next((model.experiment for model in reversed(everything)), "")
    newest = {(m.network, m.head, m.stage): m for m in everything if m.experiment == name and _is_listed(m, experiment)}
    if not newest:
        what = f'nothing is trained yet for "{name}"' if name else "nothing is trained yet"
        raise DataError(what, where="the workspace's toolkit.db", remedy="toolkit run EXPERIMENT.toml, or toolkit demo")
    listed = experiment.matrix.networks if experiment else tuple(dict.fromkeys(network for network, _, _ in newest))
    order = sorted(newest, key=lambda key: (listed.index(key[0]), key[1], STAGES.index(key[2])))
    return tuple(newest[key] for key in order)


def _is_listed(model: TrainedModel, experiment: Experiment | None) -> bool:
    """Return whether the current experiment file still contains this model."""
    if experiment is None:
        return True
    networks, heads, stages = experiment.matrix.networks, experiment.heads, experiment.stage_names
    return model.network in networks and model.head in heads and model.stage in stages


def _tests(split: Split, workspace: Workspace) -> tuple[data.Image, ...]:
    """The test images; none where the manifest is gone or was changed."""
    try:
        return tuple(image for image in data.read_manifest(split, workspace) if image.subset == "test")
    except DataError:
        return ()


def _answer(image: data.Image) -> int:
    """The label's index; of many labels the sum of 2^index."""
    return image.label if image.labels is None else label_bitmask(image.labels)


def _image_set(images: Sequence[data.Image], labels: tuple[str, ...]) -> str:
    """Of the list that the bench sends along with the images, which it numbers."""
    if any(image.labels is not None for image in images):
        return ""  # the bench's list of such images is of another form
    return hashing.sha256_bytes(build_device_listing(images, labels)[1])
