from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from toolkit.analysis.outliers import SAME_MACHINE
from toolkit.artifacts.bench import BenchRecord
from toolkit.artifacts.bundle import Bundle, IrModel
from toolkit.artifacts.model import TrainedModel
from toolkit.experiment.schema import Experiment
from toolkit.report import write_report
from toolkit.report.data.load import load_report
from toolkit.report.recommendation import recommend_model
from toolkit.report.render import export_json
from toolkit.report.tables import drift, imported_models, latency_history
from toolkit.store import Store
from toolkit.workspace import Workspace

ADOPTED = {"8" * 64, "7" * 64, "6" * 64}
Adopt = Callable[[Store], None]


@pytest.fixture
def slowed(store: Store, slow_down: Callable[[Store], BenchRecord]) -> BenchRecord:
    """The first valid latency record, measured once more and half as fast, with a newer OpenVINO."""
    return slow_down(store)


def test_drift_names_who_became_slower_and_what_else_changed(
    workspace: Workspace, store: Store, experiment: Experiment, slowed: BenchRecord
) -> None:
    report = load_report(workspace, store, experiment)
    (row,) = drift.drift(report).rows
    texts = [cell.text for cell in row]
    assert (texts[0], texts[3], texts[6], texts[7]) == (slowed.device, "2", "+100 %", "< 0.001")
    assert texts[8:] == ["slower", "OpenVINO 2026.4.1 → 2026.5.0"]
    assert row[5].href == "#record-eeeeeeeeeeee"
    (cells,) = latency_history.history(report).rows
    assert cells[-1].text == "slower, p < 0.001"


def test_recommend_model_minds_devices_that_became_slower(
    workspace: Workspace, store: Store, experiment: Experiment, slowed: BenchRecord
) -> None:
    checks = {check.title: check for check in recommend_model(load_report(workspace, store, experiment)).checks}
    assert checks["Speed over time"].state == "warning"
    assert f"took longer than before, on {slowed.device}; the most by 100 %" in checks["Speed over time"].text
    assert slowed.device in checks["Fleet"].text


def test_recommend_model_is_content_when_no_device_became_slower(
    workspace: Workspace, store: Store, experiment: Experiment
) -> None:
    assert {"Speed over time", "Fleet"} & {
        check.title for check in recommend_model(load_report(workspace, store, experiment)).checks
    } == set()
    first = next(r for r in store.all(BenchRecord) if r.scenario == "offline")
    store.put(dataclasses.replace(first, digest="e" * 64, at="2026-11-21T10:00:00+00:00"))
    checks = {check.title: check for check in recommend_model(load_report(workspace, store, experiment)).checks}
    assert (checks["Speed over time"].state, "1 comparison" in checks["Speed over time"].text) == ("good", True)


def test_outliers_name_device_when_it_is_throttled(workspace: Workspace, store: Store, experiment: Experiment) -> None:
    result = next(
        r for r in store.all(BenchRecord) if r.scenario == "single-stream" and r.device == "pi-3" and not r.broken_rules
    )
    hot = dataclasses.replace(
        result,
        broken_rules=("throttled",),
        samples_ms=tuple(2 * sample for sample in result.samples_ms),
        facts=dict(result.facts) | {"environment": {"before": {"throttled": 0}, "after": {"throttled": 0x50005}}},
    )
    store.put(hot)
    (row,) = drift.outliers(load_report(workspace, store, experiment)).rows
    assert (row[0].text, row[-1].text) == ("pi-3", "throttled: the firmware says 0x50005")
    assert row[5].href == f"#record-{hot.digest[:12]}"


def test_recommend_model_merges_devices_when_on_one_machine(
    workspace: Workspace, store: Store, experiment: Experiment, slowed: BenchRecord
) -> None:
    report = load_report(workspace, store, experiment)
    shared = tuple(dataclasses.replace(each, causes=(SAME_MACHINE,)) for each in report.outliers)
    checks = {check.title: check for check in recommend_model(dataclasses.replace(report, outliers=shared)).checks}
    assert checks["Fleet"].text.startswith(
        "The devices are one machine, which was slower at some moments than at others: "
    )


@pytest.mark.slow
def test_figures_of_replaced_records_lead_to_their_files(
    workspace: Workspace, store: Store, experiment: Experiment, slowed: BenchRecord
) -> None:
    model = dataclasses.replace(
        next(
            v.model
            for v in load_report(workspace, store, experiment).variants
            if v.bundle and v.bundle.digest == slowed.parent
        ),
        digest="9" * 64,
    )
    store.put(model)  # trained anew: the old one's bundle is no longer of this report, and its records are its past
    written = write_report(workspace, store, experiment=experiment)
    page = written.index.read_text("utf-8")
    file = export_json.file_of(slowed)
    assert f'href="{file}"' in page
    saved = json.loads((written.index.parent / file).read_bytes())["records"]
    assert list(slowed.samples_ms) in [record["samples_ms"] for record in saved]


def test_write_report_shows_imported_models_when_none_trained(store: Store, tmp_path: Path, adopt: Adopt) -> None:
    adopt(store)
    place = Workspace(tmp_path / "room")
    with Store(place.database) as apart:
        for kind in (TrainedModel, IrModel, Bundle, BenchRecord):
            for artifact in store.all(kind):
                if artifact.digest in ADOPTED or getattr(artifact, "parent", "") == "6" * 64:
                    apart.put(artifact)
        written = write_report(place, apart)
    assert written.index.parent.name == "imported"
    assert written.headline.startswith("Ship street")
    page = written.index.read_text("utf-8")
    assert "toolkit convert street-" in page
    assert "<title>Imported models" in page


@pytest.mark.slow
def test_imported_models_are_listed(
    workspace: Workspace, store: Store, experiment: Experiment, tmp_path: Path, adopt: Adopt
) -> None:
    assert imported_models.imported_models(load_report(workspace, store, experiment)).rows == ()
    adopt(store)
    report = load_report(workspace, store, experiment)
    (row,) = imported_models.imported_models(report).rows
    assert [cell.text for cell in row[:4]] == ["street", "street.onnx", "onnx", "FP32"]
    assert "street" not in {model.network for model in report.models}
    written = write_report(workspace, store, experiment=experiment, destination=tmp_path / "written")
    for cell in row:
        assert not cell.href or (written.index.parent / cell.href).is_file()
    assert "Imported models" in written.markdown.read_text()
