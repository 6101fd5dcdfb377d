from __future__ import annotations

import dataclasses

import pytest

from toolkit.artifacts.bench import BenchRecord
from toolkit.artifacts.bundle import Bundle
from toolkit.artifacts.fleet import Deployment
from toolkit.artifacts.model import TrainedModel
from toolkit.errors import DataError
from toolkit.experiment.schema import Experiment
from toolkit.report.data.bench_record_values import p90_ms, rate
from toolkit.report.data.load import load_report
from toolkit.store import Store
from toolkit.workspace import Workspace


def some_bundle(store: Store) -> Bundle:
    return store.all(Bundle)[0]


def of(store: Store, bundle: Bundle, scenario: str) -> BenchRecord:
    return next(r for r in store.all(BenchRecord, parent=bundle.digest) if r.scenario == scenario)


def test_gather_raises_when_nothing_is_trained(workspace: Workspace, empty: Store) -> None:
    with pytest.raises(DataError, match="nothing is trained yet"):
        load_report(workspace, empty, None)


def test_gather_takes_latest_experiment_when_none_is_named(workspace: Workspace, store: Store) -> None:
    model = dataclasses.replace(store.all(TrainedModel)[0], digest="f" * 64, experiment="later")
    store.put(model)
    assert [result.digest for result in load_report(workspace, store, None).models] == [model.digest]


def test_load_report_skips_imported_models(workspace: Workspace, store: Store) -> None:
    store.put(
        dataclasses.replace(store.all(TrainedModel)[0], digest="f" * 64, experiment="", stage="given", history=())
    )
    assert load_report(workspace, store, None).name == "masks"


def test_gather_takes_newest_when_a_trial_was_trained_twice(
    workspace: Workspace, store: Store, experiment: Experiment
) -> None:
    again = dataclasses.replace(store.all(TrainedModel)[0], digest="f" * 64)
    store.put(again)
    digests = [model.digest for model in load_report(workspace, store, experiment).models]
    assert again.digest in digests
    assert len(digests) == 8


def test_gather_leaves_out_what_the_experiment_no_longer_names(
    workspace: Workspace, store: Store, experiment: Experiment
) -> None:
    fewer = experiment.model_copy(update={"matrix": experiment.matrix.model_copy(update={"networks": ("mobilenet",)})})
    assert {model.network for model in load_report(workspace, store, fewer).models} == {"mobilenet"}


def test_gather_leaves_out_records_that_broke_a_rule(
    workspace: Workspace, store: Store, experiment: Experiment
) -> None:
    report = load_report(workspace, store, experiment)
    broken = [record for record in report.records if record.broken_rules]
    counted = [m.latency for variant in report.variants for m in variant.measured]
    assert len(broken) == 1
    assert broken[0] not in counted
    assert counted.count(None) == 1


def test_gather_never_sets_quick_runs_beside_full_ones(
    workspace: Workspace, store: Store, experiment: Experiment
) -> None:
    quick = of(store, some_bundle(store), "single-stream")
    store.put(dataclasses.replace(quick, digest="e" * 64, quick=False))
    report = load_report(workspace, store, experiment)
    assert not report.only_quick
    counted = [m.latency for variant in report.variants for m in variant.measured if m.latency]
    assert [record.digest for record in counted] == ["e" * 64]


def test_p90_ms_is_none_when_queries_are_too_few(store: Store) -> None:
    record = of(store, some_bundle(store), "single-stream")
    assert p90_ms(dataclasses.replace(record, samples_ms=(1.0,) * 63)) is None
    assert p90_ms(dataclasses.replace(record, samples_ms=(1.0,) * 64)) == 1.0


def test_rate_is_images_over_the_runs_length(store: Store) -> None:
    record = dataclasses.replace(of(store, some_bundle(store), "offline"), samples_ms=(1.0,) * 50, wall_s=2.0)
    assert rate(record) == 25.0
    assert rate(of(store, some_bundle(store), "single-stream")) is None


def test_at_does_not_move_when_a_deployment_changed_nothing(
    workspace: Workspace, store: Store, experiment: Experiment
) -> None:
    before = load_report(workspace, store, experiment).at
    last = store.all(Deployment)[-1]
    store.put(dataclasses.replace(last, digest="a" * 64, outcome="unchanged", at="2099-01-01T00:00:00+00:00"))
    assert load_report(workspace, store, experiment).at == before
