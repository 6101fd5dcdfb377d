"""ROC, precision-recall and calibration curves.

Of two classes there is one panel per network and stage, with a line per head, for the second class; of more there is one
per model, with a line for each of the classes with the smallest areas under their ROC curves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from toolkit.artifacts.model import TrainedModel
from toolkit.data import Image
from toolkit.report import formatting
from toolkit.report.charts import svg
from toolkit.report.charts.results_charts import styled
from toolkit.report.data.load import ReportData
from toolkit.stats import curves

WORST = 3
"""Lines per panel where there are more than two classes."""
SIZE = (290, 220)
STEP = 1 / 256
"""Curves are drawn on a grid of that many steps: finer than a pixel."""

Curve = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Line:
    """One class of one model against all others."""

    name: str
    model: TrainedModel
    index: int
    roc: Curve
    precision_recall: Curve

    @property
    def figures(self) -> str:
        """The areas under both curves and the calibration error, as the key gives them."""
        areas = [f"ROC area {curves.area_under(self.roc):.4f}"] if self.roc else []
        if self.precision_recall:
            areas.append(f"PR area {curves.average_precision(self.precision_recall):.4f}")
        return ", ".join(areas)


@dataclass(frozen=True, slots=True)
class ModelPanel:
    """One network and stage, or one model: the three drawings and the key of their lines."""

    title: str
    drawings: tuple[str, str, str]
    lines: tuple[tuple[int, str, str], ...]
    """Per line its color's number, its name and its figures."""


def panels(report: ReportData) -> Iterator[ModelPanel]:
    """Return the models with probabilities and known labels."""
    panels: dict[str, list[Line]] = {}
    for model in report.models:
        stage = f"{formatting.network(model.network)} · {formatting.stage(model.stage)}"
        title = stage if len(model.labels) == 2 else formatting.model(model)
        panels.setdefault(title, []).extend(_lines(model, report.tests.get(model.parent, ())))
    for title, lines in panels.items():
        if lines:
            yield _panel(title, lines)


def _lines(model: TrainedModel, tests: Sequence[Image]) -> Iterator[Line]:
    shares = model.evaluation.probabilities
    if not tests or len(shares) != len(tests):
        return
    for index in _shown_classes(model):
        judged = [(row, image) for row, image in zip(shares, tests, strict=True) if index not in image.unsure]
        column = [row[index if len(row) > 1 else 0] for row, _ in judged]
        positive = [index in image.indices for _, image in judged]
        roc = curves.roc_curve(column, positive)
        if len(roc):
            name = model.head if len(model.labels) == 2 else model.labels[index]
            yield Line(name, model, index, _points(roc), _points(curves.precision_recall_curve(column, positive)))


def _points(curve: curves.Curve) -> Curve:
    return tuple((x, y) for x, y in curve.tolist())


def _shown_classes(model: TrainedModel) -> tuple[int, ...]:
    """The second of two; of more, those with the smallest areas under their ROC curves."""
    if len(model.labels) == 2:
        return (1,)
    areas = {n: score.roc_auc for n, score in enumerate(model.evaluation.classes) if score.roc_auc is not None}
    return tuple(sorted(areas, key=lambda n: (areas[n], n))[:WORST])


def _panel(title: str, lines: Sequence[Line]) -> ModelPanel:
    summary = "; ".join(f"{line.name}: {line.figures}" for line in lines)
    kinds = {line.model.digest: line for line in lines}.values()
    errors = "; ".join(f"{_who(line)}: {_ece(line.model)}" for line in kinds)
    drawings = (
        svg.draw(_curves(lines, "roc"), f"{title}, ROC curves. {summary}."),
        svg.draw(_curves(lines, "precision_recall"), f"{title}, precision against recall. {summary}."),
        svg.draw(_reliability(list(kinds)), f"{title}, accuracy against confidence. {errors}."),
    )
    two = len(lines[0].model.labels) == 2
    key = tuple(
        (n + 1, line.name, line.figures + (f", {_ece(line.model)}" if two else "")) for n, line in enumerate(lines)
    )
    return ModelPanel(title if two else f"{title} · {_ece(lines[0].model)}", drawings, key)


def _who(line: Line) -> str:
    return line.name if len(line.model.labels) == 2 else formatting.model(line.model)


def _ece(model: TrainedModel) -> str:
    calibration = model.evaluation.calibration
    return "calibration error not known" if calibration is None else f"calibration error {calibration.ece:.4f}"


def _curves(lines: Sequence[Line], which: str) -> dict[str, Any]:
    import altair as alt

    rows = [
        {"x": x, "y": y, "line": str(n), "order": order}
        for n, line in enumerate(lines)
        for order, (x, y) in enumerate(thinned(_from_the_edge(getattr(line, which), which)))
    ]
    scale = alt.Scale(domain=(0, 1), nice=False)
    axis = alt.Axis(values=[0, 0.5, 1], format="%")
    titles = {
        "roc": ("false positive rate →", "true positive rate ↑"),
        "precision_recall": ("recall →", "precision ↑"),
    }[which]
    drawn = (
        alt.Chart(alt.Data(values=tuple(rows)))
        .mark_line(strokeWidth=2, aria=False)
        .encode(
            x=alt.X("x:Q", title=titles[0], scale=scale, axis=axis),
            y=alt.Y("y:Q", title=titles[1], scale=scale, axis=axis),
            color=_colors(len(lines)),
            strokeDash=_dashes(len(lines)),
            order=alt.Order("order:Q"),
        )
    )
    return styled(drawn, *SIZE)


def _from_the_edge(curve: Curve, which: str) -> Curve:
    """A precision begins with its first threshold; it is drawn from recall 0, so that a single point is seen too."""
    return ((0.0, curve[0][1]), *curve) if which == "precision_recall" else curve


def _reliability(lines: Sequence[Line]) -> dict[str, Any]:
    import altair as alt

    rows = [
        {"x": own.confidence, "y": own.accuracy, "line": str(n), "images": own.images}
        for n, line in enumerate(lines)
        if line.model.evaluation.calibration
        for own in line.model.evaluation.calibration.bins
        if own.images
    ]
    scale = alt.Scale(domain=(0, 1), nice=False)
    axis = alt.Axis(values=[0, 0.5, 1], format="%")
    x = alt.X("x:Q", title="confidence →", scale=scale, axis=axis)
    y = alt.Y("y:Q", title="accuracy ↑", scale=scale, axis=axis)
    ideal = alt.Chart(alt.Data(values=[{"x": 0, "y": 0}, {"x": 1, "y": 1}]))
    base = alt.Chart().encode(x=x, y=y, color=_colors(len(lines)))
    layers = (
        ideal.mark_line(color=svg.MUTED, strokeWidth=1, strokeDash=[2, 3], aria=False).encode(x=x, y=y),
        base.mark_line(strokeWidth=1.5, opacity=0.6, aria=False).encode(strokeDash=_dashes(len(lines))),
        base.mark_point(filled=True, opacity=0.9, aria=False).encode(
            size=alt.Size("images:Q", scale=alt.Scale(range=[12, 130]), legend=None)
        ),
    )
    return styled(alt.layer(*layers, data=alt.Data(values=tuple(rows))), *SIZE)


def _colors(lines: int) -> Any:
    import altair as alt

    names = [str(n) for n in range(lines)]
    return alt.Color("line:N", scale=alt.Scale(domain=names, range=list(svg.SERIES[:lines])), legend=None)


def _dashes(lines: int) -> Any:
    import altair as alt

    names, kinds = [str(n) for n in range(lines)], ([1, 0], [5, 3], [2, 2], [7, 2])
    return alt.StrokeDash(
        "line:N", scale=alt.Scale(domain=names, range=[kinds[n % 4] for n in range(lines)]), legend=None
    )


def thinned(curve: Curve) -> Curve:
    """The same line on a grid, without the points that lie between two others on a straight line."""
    thinned_points: list[tuple[float, float]] = []
    for x, y in curve:
        point = (round(x / STEP) * STEP, round(y / STEP) * STEP)
        if len(thinned_points) > 1 and _straight(thinned_points[-2], thinned_points[-1], point):
            thinned_points.pop()
        if not thinned_points or thinned_points[-1] != point:
            thinned_points.append(point)
    return tuple(thinned_points)


def _straight(first: tuple[float, float], second: tuple[float, float], third: tuple[float, float]) -> bool:
    return (first[0] == second[0] == third[0]) or (first[1] == second[1] == third[1])
