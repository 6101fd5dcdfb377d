"""Risk against coverage: the error rate when only a share of the images gets an answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from toolkit.artifacts.model import Rejection
from toolkit.report import formatting
from toolkit.report.charts import svg
from toolkit.report.charts.results_charts import band_and_line, styled
from toolkit.report.data.load import ReportData
from toolkit.stats import intervals

SIZE = (290, 200)


@dataclass(frozen=True, slots=True)
class RiskCoveragePanel:
    """One model's curve."""

    title: str
    drawing: str


def panels(report: ReportData) -> Iterator[RiskCoveragePanel]:
    """Every model that may answer "unknown"."""
    for model in report.models:
        rule = model.rejection
        if rule is not None and rule.curve:
            title = formatting.model(model)
            yield RiskCoveragePanel(
                title, svg.draw(_curve(rule), f"{title}: share of wrong answers against share of images answered")
            )


def _curve(rule: Rejection) -> dict[str, Any]:
    import altair as alt

    rows = [_row(rule, coverage, risk) for coverage, risk in rule.curve]
    top = max(row["high"] for row in rows)
    x = alt.X("coverage:Q", title="images answered →", scale=alt.Scale(domain=(0, 1)), axis=alt.Axis(format="%"))
    y = {"title": "wrong ↑", "scale": alt.Scale(domain=(0, top)), "axis": alt.Axis(format=".0%")}
    line = alt.Chart(alt.Data(values=[{"coverage": at, "risk": rule.error} for at in (0, 1)]))
    layers = (
        *band_and_line(alt.Chart(alt.Data(values=tuple(rows))).encode(x=x), "risk", **y),
        line.mark_line(color=svg.MUTED, strokeWidth=1, strokeDash=[2, 3], aria=False).encode(
            x=x, y=alt.Y("risk:Q", **y)
        ),
    )
    return styled(alt.layer(*layers), *SIZE)


def _row(rule: Rejection, coverage: float, risk: float) -> dict[str, float]:
    answers = round(coverage * rule.test_images)
    low, high = intervals.wilson(round(risk * answers), answers)
    return {"coverage": coverage, "risk": risk, "low": low, "high": high}
