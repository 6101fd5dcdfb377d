"""Accuracy against the number of training images, one panel per network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from toolkit.artifacts.model import SampleEfficiency
from toolkit.report import formatting
from toolkit.report.charts import svg
from toolkit.report.charts.results_charts import band_and_line, floor, styled
from toolkit.report.data.load import ReportData

SIZE = (290, 200)


@dataclass(frozen=True, slots=True)
class SampleEfficiencyPanel:
    """One network's curve, and what more images are worth."""

    title: str
    drawing: str
    verdict: str


def panels(report: ReportData) -> Iterator[SampleEfficiencyPanel]:
    """Every network whose frozen features were measured; heads share them."""
    curves = {model.network: model.sample_efficiency for model in report.models if model.sample_efficiency}
    for network, curve in curves.items():
        title, verdict = formatting.network(network), verdict_of(curve)
        yield SampleEfficiencyPanel(
            title, svg.draw(_curve(curve), f"{title}: accuracy by training images of each class. {verdict}"), verdict
        )


def verdict_of(curve: SampleEfficiency) -> str:
    """One sentence for people."""
    last = curve.points[-1]
    return (
        f"With {last.per_class:,} images of each class {formatting.percent(last.accuracy)} are right; {curve.more} more of "
        f"each would add about {formatting.points(curve.gain)} points."
    )


def _curve(curve: SampleEfficiency) -> dict[str, Any]:
    import altair as alt

    rows = [
        {"images": point.per_class, "accuracy": point.accuracy, "low": point.interval[0], "high": point.interval[1]}
        for point in curve.points
    ]
    domain = (floor(min(row["low"] for row in rows), 0.1), 1.0)
    x = alt.X(
        "images:Q",
        title="training images of each class →",
        scale=alt.Scale(type="log", nice=False),
        axis=alt.Axis(values=[row["images"] for row in rows], format="d", grid=False),
    )
    y = {
        "title": "test accuracy ↑",
        "scale": alt.Scale(domain=domain, clamp=True),
        "axis": alt.Axis(format=".0%"),
    }
    base = alt.Chart(alt.Data(values=tuple(rows))).encode(x=x)
    layers = (
        *band_and_line(base, "accuracy", **y),
        base.mark_point(color=svg.SERIES[0], filled=True, size=22, opacity=1, aria=False).encode(
            y=alt.Y("accuracy:Q", **y)
        ),
    )
    return styled(alt.layer(*layers), *SIZE)
