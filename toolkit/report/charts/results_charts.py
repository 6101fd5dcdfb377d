"""Charts of scores and differences, each a small SVG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from toolkit.report import formatting
from toolkit.report.charts import svg
from toolkit.report.data.load import ReportData
from toolkit.report.data.paired_tests import Pair

TEXT = 12  # pixels at the chart's own width


@dataclass(frozen=True, slots=True)
class Panel:
    """One drawing of a set of small multiples."""

    title: str
    drawings: tuple[str, ...]


def series(report: ReportData) -> dict[str, str]:
    """A color per network, the same in every chart."""
    names = dict.fromkeys(model.network for model in report.models)
    return {name: svg.SERIES[n % len(svg.SERIES)] for n, name in enumerate(names)}


def styled(chart: Any, width: int, height: int) -> dict[str, Any]:
    """The chart's Vega-Lite specification in the common style: no frame, a light grid, text in the page's colors.

    The style is added to the specification, because Altair copies a chart with its data each time that it is configured.
    """
    axis = {
        "labelColor": svg.MUTED,
        "titleColor": svg.MUTED,
        "gridColor": svg.RULE,
        "domainColor": svg.RULE,
        "tickColor": svg.RULE,
        "labelFontSize": TEXT,
        "labelLimit": 320,
        "titleFontSize": TEXT,
        "titleFontWeight": "normal",
        "labelPadding": 6,
        "titlePadding": 10,
    }
    spec: dict[str, Any] = chart.to_dict(validate=False)
    config = spec["config"] | {"background": "transparent", "font": "Liberation Sans", "aria": True, "axis": axis}
    config |= {"axisY": {"domain": False, "ticks": False}, "view": config["view"] | {"stroke": None}}
    fit = {"type": "fit", "contains": "padding"}
    return spec | {"width": width, "height": height, "autosize": fit, "padding": 4, "config": config}


def band_and_line(base: Any, field: str, title: str, scale: Any, axis: Any) -> tuple[Any, Any]:
    """The line of `field` of a chart with an x-axis, over the band of its interval from `low` to `high`."""
    import altair as alt

    band = alt.Y("low:Q", title=title, scale=scale, axis=axis)
    line = alt.Y(f"{field}:Q", title=title, scale=scale, axis=axis)
    return (
        base.mark_area(color=svg.SERIES[0], opacity=0.2, aria=False).encode(y=band, y2=alt.Y2("high:Q")),
        base.mark_line(color=svg.SERIES[0], strokeWidth=2, aria=False).encode(y=line),
    )


SCORES = (("precision", "triangle-up"), ("recall", "square"), ("f1", "circle"))
MANY_CLASSES = 12  # from here a panel per class would be a wall; tables and CSV serve better


def scores(report: ReportData) -> Iterator[Panel]:
    """Precision, recall and F1 of every model, one panel per class; none where there are too many classes."""
    labels = tuple(dict.fromkeys(score.label for model in report.models for score in model.evaluation.classes))
    if not 0 < len(labels) <= MANY_CLASSES:
        return
    lowest = min(
        getattr(score, name) for model in report.models for score in model.evaluation.classes for name, _ in SCORES
    )
    domain = (floor(lowest, 0.1), 1.0)
    for label in labels:
        rows = list(_score_rows(report, label))
        yield Panel(
            label,
            tuple(
                svg.draw(_scores(rows, domain, w), f"{formatting.shortened(label)}: {_worst(rows)}", width_class=c)
                for w, c in WIDTHS
            ),
        )


WIDTHS = ((540, "wide"), (350, "narrow"))
"""Chart widths in pixels and the classes that CSS shows them by."""


def _score_rows(report: ReportData, label: str) -> Iterator[dict[str, object]]:
    colors = series(report)
    for model in report.models:
        scores = next((score for score in model.evaluation.classes if score.label == label), None)
        for name, _ in SCORES if scores else ():
            value = getattr(scores, name)
            yield {
                "model": formatting.model(model),
                "short": short(model.network, model.head, model.stage),
                "value": value,
                "score": name,
                "color": colors[model.network],
                "label": f"{formatting.model(model)}: {name} {value:.3f}",
            }


def short(network: str, head: str, stage: str) -> str:
    """Return a short name of a row."""
    return f"{_clipped(network)} · {head[:3]} · {_clipped_stage(stage)}"


def _clipped(network: str) -> str:
    return formatting.network(network)[:12].rstrip("-")


def _clipped_stage(stage: str) -> str:
    return formatting.stage(stage).partition("-")[0].partition(" ")[0]


def _worst(rows: Sequence[dict[str, Any]]) -> str:
    lowest = min(rows, key=lambda row: row["value"])
    return f"precision, recall and F1 per model. Lowest: {lowest['label']}."


def _scores(rows: Sequence[dict[str, object]], domain: tuple[float, float], width: int) -> dict[str, Any]:
    import altair as alt

    names, scale = [name for name, _ in SCORES], alt.Scale(domain=domain)
    shapes = alt.Scale(domain=names, range=[shape for _, shape in SCORES])
    field = "model" if width > 400 else "short"
    y = alt.Y(f"{field}:N", sort=None, title=None, axis=_names_axis(width))
    base = alt.Chart(alt.Data(values=tuple(rows))).encode(y=y, color=alt.Color("color:N", scale=None))
    x = alt.X(
        "value:Q", title=None, scale=alt.Scale(domain=domain), axis=alt.Axis(format="%", tickCount=5, orient="top")
    )
    span = base.mark_rule(strokeWidth=1.5, opacity=0.45, aria=False).encode(
        x=alt.X("min(value):Q", scale=scale), x2="max(value):Q"
    )
    points = base.mark_point(filled=True, size=64, opacity=1).encode(
        x=x, shape=alt.Shape("score:N", scale=shapes, legend=None), description=alt.Description("label:N")
    )
    height = 44 + 27 * len({str(row["model"]) for row in rows})
    return styled(alt.layer(points, span), width, height)


def _names_axis(width: int) -> Any:
    import altair as alt

    return alt.Axis(labelColor=svg.INK, labelLimit=320 if width > 400 else 170, labelPadding=8, grid=True)


def differences(pairs: Sequence[Pair]) -> str:
    """Softmax minus sigmoid in percentage points, with intervals, per network and stage."""
    rows = [
        {
            "name": f"{formatting.network(pair.first.network)} · {formatting.stage(pair.first.stage)}",
            "brief": f"{_clipped(pair.first.network)} · {_clipped_stage(pair.first.stage)}",
            "value": 100 * pair.difference,
            "low": 100 * pair.interval[0],
            "high": 100 * pair.interval[1],
            "label": f"{formatting.points(pair.difference)} points ({formatting.points(pair.interval[0])} to {formatting.points(pair.interval[1])})",
        }
        for pair in pairs
    ]
    label = "Softmax minus sigmoid, accuracy in percentage points: " + "; ".join(
        f"{r['name']} {r['label']}" for r in rows
    )
    return "".join(
        svg.draw(_differences(rows, width), label, width_class=kind) for width, kind in ((760, "wide"), (350, "narrow"))
    )


def _differences(rows: list[dict[str, Any]], width: int) -> dict[str, Any]:
    import altair as alt

    reach = max(1.0, *(max(abs(row["low"]), abs(row["high"])) for row in rows)) * 1.08
    scale = alt.Scale(domain=(-reach, reach))
    x = alt.X(
        "value:Q",
        title="← sigmoid better · points · softmax better →" if width > 400 else "← sigmoid · points · softmax →",
        scale=scale,
        axis=alt.Axis(tickCount=6),
    )
    y = alt.Y("name:N" if width > 400 else "brief:N", sort=None, title=None, axis=_names_axis(width))
    base = alt.Chart(alt.Data(values=tuple(rows))).encode(y=y)
    zero = (
        alt.Chart(alt.Data(values=[{"value": 0}]))
        .mark_rule(color=svg.MUTED, aria=False)
        .encode(x=alt.X("value:Q", scale=scale))
    )
    span = base.mark_rule(strokeWidth=2.5, color=svg.SERIES[0], opacity=0.55, aria=False).encode(
        x=alt.X("low:Q", scale=scale), x2=alt.X2("high:Q")
    )
    points = base.mark_point(filled=True, size=90, color=svg.SERIES[0], opacity=1).encode(
        x=x, description=alt.Description("label:N")
    )
    return styled(alt.layer(zero, points, span), width, 62 + 34 * len(rows))


def floor(value: float, step: float) -> float:
    """The multiple of `step` at or below `value`, leaving a little room under it."""
    return max(0.0, round((value - 0.02) // step * step, 6))
