"""Speed against accuracy: every converted model on each device, and the Pareto frontier."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from toolkit.report import formatting
from toolkit.report.charts import svg
from toolkit.report.charts.results_charts import floor, series, styled
from toolkit.report.data.load import ReportData
from toolkit.report.data.variants import DeviceResults, Variant

Axis = Literal["latency", "rate"]
SHAPES = {"sigmoid": "circle", "softmax": "square", "multi-sigmoid": "diamond"}
SIZES = {"fp32": 150, "fp16": 60, "int8": 26}
"""In square pixels; a precision that is not here is drawn at 100."""
MOST_PANELS = 6
"""Devices named in the chart; the tables and CSV files contain all of them."""


@dataclass(frozen=True, slots=True)
class Point:
    """A converted model on one device; `speed` is ms at p90 (less is better) or images/s (more is better)."""

    variant: Variant
    measured: DeviceResults
    speed: float
    rank: int
    """1, 2, 3… along the frontier from the fastest; 0 off it."""

    @property
    def record(self) -> str:
        """The digest of the raw record behind it."""
        record = self.measured.latency if self.measured.p90_ms == self.speed else self.measured.offline
        return record.digest if record else ""


@dataclass(frozen=True, slots=True)
class DevicePanel:
    """One device."""

    device: str
    drawings: tuple[str, ...]
    frontier: tuple[Point, ...]


def frontier(points: Sequence[Point], axis: Axis) -> tuple[Point, ...]:
    """Return the Pareto frontier, ranked from the fastest."""
    faster = 1 if axis == "latency" else -1
    best, front = -1.0, list[Point]()
    for point in sorted(points, key=lambda p: (faster * p.speed, -p.variant.accuracy)):
        if point.variant.accuracy > best:
            best = point.variant.accuracy
            front.append(Point(point.variant, point.measured, point.speed, len(front) + 1))
    return tuple(front)


def panels(report: ReportData, axis: Axis) -> tuple[DevicePanel, ...]:
    """A panel per device and accelerator, all on the same axes."""
    places: dict[tuple[str, str], list[Point]] = {}
    for point in _points(report, axis):
        places.setdefault((point.measured.device, point.measured.accelerator), []).append(point)
    domains = _domains([point for points in places.values() for point in points])
    shown = sorted(places)[:MOST_PANELS]
    width = {1: 860, 2: 540}.get(len(shown), 372)
    return tuple(_panel(report, axis, place, places[place], domains, width) for place in shown)


def _points(report: ReportData, axis: Axis) -> Iterator[Point]:
    for variant in report.variants:
        for measured in variant.measured:
            speed = measured.p90_ms if axis == "latency" else measured.rate
            if speed is not None:
                yield Point(variant, measured, speed, 0)


def _domains(points: Sequence[Point]) -> dict[str, tuple[float, float]]:
    speeds = [point.speed for point in points] or [1.0]
    lows = [point.variant.interval[0] for point in points] or [0.0]
    return {"x": (min(speeds) / 1.15, max(speeds) * 1.15), "y": (floor(min(lows), 0.05), 1.0)}


def _panel(
    report: ReportData,
    axis: Axis,
    place: tuple[str, str],
    points: list[Point],
    domains: dict[str, tuple[float, float]],
    width: int,
) -> DevicePanel:
    best = frontier([point for point in points if not report.is_at_chance(point.variant)], axis)
    device = f"{place[0]} · {place[1]}"
    label = f"Accuracy against {'p90 latency' if axis == 'latency' else 'images per second'} on {device}, {len(points)} models; links lead to the raw records."
    rows = list(_rows(report, axis, points, best))
    sizes = ((width, 400 if width > 600 else 330, "wide"), (360, 330, "narrow")) if width > 400 else ((width, 330, ""),)
    drawings = (svg.draw(_chart(rows, axis, domains, w, h), label, role="group", width_class=c) for w, h, c in sizes)
    return DevicePanel(device, tuple(drawings), best)


def _rows(
    report: ReportData, axis: Axis, points: Sequence[Point], best: Sequence[Point]
) -> Iterator[dict[str, object]]:
    colors, ranks = series(report), {id(point.variant): point.rank for point in best}
    unit = "ms" if axis == "latency" else "images/s"
    for point in points:
        variant, (low, high) = point.variant, point.variant.interval
        color = colors[variant.model.network]
        yield {
            "speed": point.speed,
            "accuracy": variant.accuracy,
            "low": low,
            "high": high,
            "rank": ranks.get(id(variant), 0),
            "stroke": color,
            "fill": svg.CARD if variant.model.stage == "top" else color,
            "shape": SHAPES.get(variant.model.head, "diamond"),
            "size": SIZES.get(variant.ir.precision, 100),
            "href": f"#record-{point.record[:12]}",
            "label": f"{formatting.variant_name(variant.model, variant.ir)}: {formatting.percent(variant.accuracy)} "
            f"({formatting.interval(low, high)}), {formatting.number(point.speed)} {unit}",
        }


def _chart(
    rows: list[dict[str, object]], axis: Axis, domains: dict[str, tuple[float, float]], width: int, height: int
) -> dict[str, Any]:
    import altair as alt

    title = "p90 latency in ms (log) · faster ←" if axis == "latency" else "images per second (log) · faster →"
    x = alt.X(
        "speed:Q",
        title=title,
        scale=alt.Scale(type="log", domain=domains["x"], nice=False),
        axis=alt.Axis(grid=False, tickCount=5, labelOverlap="greedy", format="~r"),
    )
    heights = alt.Scale(domain=domains["y"])
    y = alt.Y("accuracy:Q", title=None, scale=heights, axis=alt.Axis(format="%", tickCount=6))
    base = alt.Chart().encode(x=x, y=y)
    off, best = "datum.rank === 0", "datum.rank > 0"
    order = alt.Order("rank:Q")
    spans = [
        base.transform_filter(test)
        .mark_rule(strokeWidth=1.5, opacity=opacity, aria=False)
        .encode(
            y=alt.Y("low:Q", title=None, scale=heights), y2=alt.Y2("high:Q"), color=alt.Color("stroke:N", scale=None)
        )
        for test, opacity in ((off, 0.18), (best, 0.7))
    ]
    step = "step-after" if axis == "latency" else "step-before"
    line = base.transform_filter(best).mark_line(
        color=svg.MUTED, strokeWidth=1.5, interpolate=step, strokeDash=[5, 4], aria=False
    )
    points = [
        base.transform_filter(test)
        .mark_point(strokeWidth=2, opacity=opacity)
        .encode(
            fill=alt.Fill("fill:N", scale=None),
            stroke=alt.Stroke("stroke:N", scale=None),
            shape=alt.Shape("shape:N", scale=None),
            size=alt.Size("size:Q", scale=None),
            href=alt.Href("href:N"),
            description=alt.Description("label:N"),
        )
        for test, opacity in ((off, 0.5), (best, 1))
    ]
    ranks = (
        base.transform_filter(best)
        .mark_text(
            dx=-11 if axis == "latency" else 11, dy=-9, fontSize=13, fontWeight="bold", color=svg.INK, aria=False
        )
        .encode(text=alt.Text("rank:N"))
    )
    return styled(
        alt.layer(*spans, line.encode(order=order), *points, ranks, data=alt.Data(values=tuple(rows))), width, height
    )
