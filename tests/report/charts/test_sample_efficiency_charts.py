from __future__ import annotations

import dataclasses

from toolkit.artifacts.model import SampleEfficiency, SamplePoint
from toolkit.report import formatting
from toolkit.report.charts import sample_efficiency_charts
from toolkit.report.data.load import load_report
from toolkit.store import Store
from toolkit.workspace import Workspace

CURVE = SampleEfficiency(
    points=tuple(
        SamplePoint(per_class=size, accuracy=accuracy, interval=(accuracy - 0.03, min(1.0, accuracy + 0.03)))
        for size, accuracy in ((2, 0.7), (5, 0.82), (10, 0.9))
    ),
    more=10,
    gain=0.031,
)


def test_panels_draw_one_curve_for_each_network(workspace: Workspace, store: Store) -> None:
    report = load_report(workspace, store, None)
    network = report.models[0].network
    models = tuple(
        dataclasses.replace(model, sample_efficiency=CURVE if model.network == network else None)
        for model in report.models
    )
    (panel,) = sample_efficiency_charts.panels(dataclasses.replace(report, models=models))
    assert panel.title == formatting.network(network)
    assert "10 images of each class 90.0 % are right; 10 more of each would add about +3.1 points" in panel.verdict
    assert panel.verdict in panel.drawing


def test_panels_are_empty_without_curves(workspace: Workspace, store: Store) -> None:
    assert list(sample_efficiency_charts.panels(load_report(workspace, store, None))) == []
