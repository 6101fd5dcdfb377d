from __future__ import annotations

import dataclasses

from toolkit.experiment.schema import Experiment
from toolkit.report.charts import pareto
from toolkit.report.charts.pareto import Point
from toolkit.report.data.load import load_report
from toolkit.report.data.variants import Variant
from toolkit.store import Store
from toolkit.workspace import Workspace


def point(variant: Variant, accuracy: float, speed: float) -> Point:
    parity = dataclasses.replace(variant.ir.parity, accuracy=accuracy)
    made = dataclasses.replace(variant, ir=dataclasses.replace(variant.ir, parity=parity))
    return Point(made, variant.measured[0], speed, 0)


def some_variant(workspace: Workspace, store: Store, experiment: Experiment) -> Variant:
    return load_report(workspace, store, experiment).variants[0]


def test_frontier_keeps_what_nothing_beats_in_both(workspace: Workspace, store: Store, experiment: Experiment) -> None:
    variant = some_variant(workspace, store, experiment)
    points = [point(variant, a, s) for a, s in ((0.9, 5.0), (0.95, 9.0), (0.8, 4.0), (0.85, 6.0), (0.95, 12.0))]
    result = pareto.frontier(points, "latency")
    assert [(p.rank, p.speed, p.variant.accuracy) for p in result] == [(1, 4.0, 0.8), (2, 5.0, 0.9), (3, 9.0, 0.95)]


def test_frontier_prefers_more_when_speed_is_a_rate(workspace: Workspace, store: Store, experiment: Experiment) -> None:
    variant = some_variant(workspace, store, experiment)
    points = [point(variant, a, s) for a, s in ((0.9, 100.0), (0.95, 50.0), (0.94, 40.0))]
    assert [p.speed for p in pareto.frontier(points, "rate")] == [100.0, 50.0]
