from __future__ import annotations

import dataclasses

from toolkit.artifacts.model import Rejection, StrangerResult
from toolkit.report import formatting
from toolkit.report.charts import risk_coverage
from toolkit.report.data.load import ReportData, load_report
from toolkit.report.tables import unknown_answers
from toolkit.store import Store
from toolkit.workspace import Workspace

RULE = Rejection(
    score="margin",
    error=0.02,
    temperature=1.5,
    threshold=0.7,
    validation_error=0.01,
    coverage=0.9,
    test_images=200,
    test_answers=180,
    test_errors=2,
    curve=((0.5, 0.0), (0.9, 2 / 180), (1.0, 0.05)),
    strangers=StrangerResult(images=1200, unknown=900, auroc=0.91, auroc_of_probability=0.88),
)


def report_with(rule: Rejection | None, workspace: Workspace, store: Store) -> ReportData:
    report = load_report(workspace, store, None)
    first, *rest = report.models
    return dataclasses.replace(report, models=(dataclasses.replace(first, rejection=rule), *rest))


def test_unknown_answers_shows_the_rate_with_its_interval(workspace: Workspace, store: Store) -> None:
    ((_, *cells),) = unknown_answers.unknown_answers(report_with(RULE, workspace, store)).rows
    assert [cell.text for cell in cells] == [
        "margin", "2.0 %", "1.1 %", f"0.3{formatting.DASH}4.0 %", "90.0 %", "900 of 1,200", "0.9100", "0.8800",
    ]  # fmt: skip


def test_unknown_answers_is_empty_when_no_model_has_a_rule(workspace: Workspace, store: Store) -> None:
    report = report_with(None, workspace, store)
    assert not unknown_answers.unknown_answers(report).rows
    assert not list(risk_coverage.panels(report))


def test_risk_coverage_draws_a_curve_for_each_model(workspace: Workspace, store: Store) -> None:
    (panel,) = risk_coverage.panels(report_with(RULE, workspace, store))
    assert "share of wrong answers" in panel.drawing
