"""What the report says of candidates that ran beside the serving release."""

from __future__ import annotations

import pytest

from toolkit.artifacts.fleet import REFUSED, ShadowRun
from toolkit.experiment.schema import Experiment
from toolkit.report import write_report
from toolkit.report.data.load import load_report
from toolkit.report.tables.shadow_runs import shadow_runs
from toolkit.store import Store
from toolkit.workspace import Workspace


@pytest.mark.slow
def test_report_shows_comparisons_of_its_bundles(workspace: Workspace, store: Store, experiment: Experiment) -> None:
    bundle = next(v.bundle for v in load_report(workspace, store, experiment).variants if v.bundle)
    run = ShadowRun(
        digest="s",
        parent=bundle.digest,
        device="pi-1",
        release="c" * 64,
        serving="5" * 64,
        serving_name="before",
        decision=REFUSED,
        reason="agreement is not above 95%",
        gate=0.95,
        alpha=0.01,
        beta=0.05,
        frames=50,
        counted=40,
        agreed=30,
        design_effect=1.5,
        confidence=(0.9, 0.8),
        latency_ms=(20.0, None),
        class_shift=0.2,
        fps=(25.0, 24.5),
        disagreements={"a → b": 7, "a → unknown": 3},
        at="2026-11-30T09:00:00+00:00",
        accuracy_gate=0.8,
        labeled=31,
        right=(20, 25),
    )
    store.put(run)
    (row,) = shadow_runs(load_report(workspace, store, experiment)).rows
    texts = [cell.text for cell in row]
    assert texts[0] == "pi-1"
    assert texts[3:12] == [
        "refused",
        "75.0 %",
        "40 of 50",
        "20 → 25 of 31",
        "90.0 % → 80.0 %",
        "20.0 → ?",
        "20.0 %",
        "25.0 → 24.5",
        "a → b: 7",
    ]
    assert "Compared on live frames" in write_report(workspace, store, experiment=experiment).index.read_text()
