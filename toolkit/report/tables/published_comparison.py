"""Tables and charts of published figures next to ours, which always name their data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from toolkit.report import formatting
from toolkit.report.charts import svg
from toolkit.report.charts.results_charts import floor, short, styled
from toolkit.report.data import device_predictions
from toolkit.report.data.load import ReportData
from toolkit.report.published.metrics import Figure, OurResult
from toolkit.report.published.results import PublishedResults, Row, Sheet
from toolkit.report.tables.results_tables import Cell, Table, table, to_model

NOT_RUN = Cell("not run", style="quiet")
TITLES = {"network": "Network", "stage": "Stage", "head": "Head", "precision": "Precision", "start": "Initial weights"}
CHARTS = {
    "loss": "Test loss",
    "accuracy": "Test accuracy",
    "rate": "Inferences per second",
    "confidence": "Confidence in percent; left of 0: misclassified",
}
"""The measures that are drawn, where a table has several rows of them."""


def data_label(report: ReportData) -> str:
    """What ours are of, such as "synthetic masks" or "fashion-mnist"."""
    return formatting.listed(dict.fromkeys(split.note or split.name for split in report.splits) or report.notes)


def tables(published: PublishedResults, report: ReportData) -> dict[str, Table]:
    """Every published table with ours, by name; one of a single row is set upright."""
    return {sheet.name: (_upright if len(sheet.rows) == 1 else _wide)(sheet, report) for sheet in published.sheets}


def _wide(sheet: Sheet, report: ReportData) -> Table:
    names = [TITLES[column] for column in sheet.columns]
    heads = [f"#{title}" for title in _titles(sheet, data_label(report))]
    which = ["Ours is"] if _loose(sheet) else []
    rows = (_wide_row(sheet, row) for row in sheet.rows)
    return table(f"{sheet.caption}, published and ours", (*names, *heads, *which), rows, f"{sheet.name}.csv")


def _loose(sheet: Sheet) -> bool:
    """Whether ours may differ from a row's network, stage or head, and must be named."""
    return not {"network", "stage", "head"} <= set(sheet.match)


def _titles(sheet: Sheet, data: str) -> Iterator[str]:
    for figures in _by_measure(sheet):
        yield from (f"{figure.title}: published" for figure in figures)
        yield from (f"{title}: ours, {data}" for title in dict.fromkeys(figure.our_title for figure in figures))


def _by_measure(sheet: Sheet) -> list[list[Figure]]:
    figures: dict[str, list[Figure]] = {}
    for figure in sheet.figures:
        figures.setdefault(figure.metric.name, []).append(figure)
    return list(figures.values())


def _wide_row(sheet: Sheet, row: Row) -> Iterator[Cell | str]:
    yield from (format_name(column, row.names[column]) for column in sheet.columns)
    published = dict(row.figures)
    for figures in _by_measure(sheet):
        yield from (_published_cell(figure, published[figure]) for figure in figures)
        yield from {figure.our_title: _our_cell(figure, row) for figure in figures}.values()
    if _loose(sheet):
        yield formatting.model(row.ours.model) if row.ours else NOT_RUN


def format_name(column: str, value: str) -> str:
    """Return the display name of a row."""
    known = {"network": formatting.network, "stage": formatting.stage, "precision": str.upper}
    return known[column](value) if column in known else value


def _published_cell(figure: Figure, value: float) -> Cell:
    return Cell(figure.metric.write(value), style="bad" if value < 0 else "")


def _our_cell(figure: Figure, row: Row) -> Cell:
    text, values = figure.our_text(row.ours), figure.ours(row.ours)
    if not text or row.ours is None:
        return NOT_RUN
    return Cell(text, _our_link(figure, row.ours), "bad" if min(values) < 0 else "")


SCENARIOS = {"rate": "offline", "confidence": "accuracy"}
"""Measures that come from a device, and by which of its runs."""


def _our_link(figure: Figure, ours: OurResult) -> str:
    """The raw record behind one of our figures."""
    scenario = SCENARIOS.get(figure.metric.name)
    return ours.variant.link(scenario) if scenario and ours.variant else to_model(ours.model)


def _upright(sheet: Sheet, report: ReportData) -> Table:
    (row,) = sheet.rows
    theirs = " · ".join(format_name(column, row.names[column]) for column in sheet.columns)
    ours = formatting.model(row.ours.model) if row.ours else "not run"
    published = dict(row.figures)
    rows = ((f.title, _published_cell(f, published[f]), _our_cell(f, row)) for f in sheet.figures)
    columns = ("Figure", f"#Published: {theirs}", f"#Ours, {data_label(report)}: {ours}")
    return table(f"{sheet.caption}, published and ours", columns, rows, f"{sheet.name}.csv")


def images_note(report: ReportData) -> str:
    """Return a note on the images behind our confidences; empty if no device classified any."""
    chosen = [shown for split in report.splits for shown in device_predictions.shown(report, split.digest).values()]
    if not chosen:
        return ""
    named = formatting.listed(f"{shown.label} {shown.image.sha256[:12]}" for shown in chosen)
    return (
        f"Our confidences are on one test image of each class, by digest {named}: the first of each whose answers the "
        "devices keep, the same for every model. Our speeds are offline, over all test images."
    )


def frames(published: PublishedResults) -> Iterator[tuple[str, list[dict[str, object]]]]:
    """Per table the rows of its CSV: full digits, ours as the least and the most over the devices."""
    for sheet in published.sheets:
        yield f"{sheet.name}.csv", [_frame_row(row) for row in sheet.rows]


def _frame_row(row: Row) -> dict[str, object]:
    line: dict[str, object] = dict(row.names)
    for figure, value in row.figures:
        name = f"{figure.metric.name}_{figure.label}".rstrip("_")
        ours = figure.ours(row.ours)
        line |= {f"published_{name}": value, f"our_least_{name}": min(ours, default=None)}
        line[f"our_most_{name}"] = max(ours, default=None)
    return line | {"our_model": row.ours.model.digest if row.ours else None}


def charts(published: PublishedResults) -> Iterator[tuple[str, str]]:
    """Title and drawing per figure that several rows have: hollow diamonds are published, dots are ours."""
    for sheet in published.sheets:
        for figure in sheet.figures if len(sheet.rows) > 2 else ():
            title = CHARTS[figure.metric.name] + (f" · {figure.label.replace('_', ' ')}" if figure.label else "")
            label = f"{title}: published and ours, {len(sheet.rows)} rows; the table above has the figures."
            yield title, svg.draw(_chart(list(_points(sheet, figure)), figure.metric.name), label)


def _points(sheet: Sheet, figure: Figure) -> Iterator[dict[str, object]]:
    write = figure.metric.write
    for row in sheet.rows:
        names = row.names
        name = " · ".join(format_name(column, names[column]) for column in sheet.columns)
        brief = short(names.get("network", ""), names.get("head", ""), names.get("stage", ""))
        key: dict[str, object] = {"name": name, "brief": f"{brief} {names.get('precision', '').upper()}".rstrip()}
        value = dict(row.figures)[figure]
        yield key | {"who": "published", "value": value, "label": f"{name}: published {write(value)}"}
        if ours := figure.ours(row.ours):
            span: dict[str, object] = {"value": sum(ours) / len(ours), "low": min(ours), "high": max(ours)}
            if figure.metric.name == "accuracy" and row.ours:
                span["low"], span["high"] = row.ours.model.evaluation.interval
            yield key | span | {"who": "ours", "label": f"{name}: ours {figure.our_text(row.ours)}"}


def _chart(rows: list[dict[str, object]], metric: str) -> dict[str, Any]:
    import altair as alt

    scale = alt.Scale(domain=_domain(rows, metric))
    formats = {"accuracy": "%", "confidence": "d", "rate": "d"}
    axis = alt.Axis(format=formats.get(metric, "~g"), orient="top", tickCount=5)
    x = alt.X("value:Q", title=None, scale=scale, axis=axis)
    names = alt.Axis(labelColor=svg.INK, labelLimit=190, labelPadding=8, grid=True)
    y = alt.Y("brief:N", sort=None, title=None, axis=names)
    base = alt.Chart(alt.Data(values=tuple(rows))).encode(y=y)
    ours, theirs = base.transform_filter("datum.who === 'ours'"), base.transform_filter("datum.who === 'published'")
    layers = [
        theirs.mark_point(filled=False, shape="diamond", size=80, strokeWidth=2, color=svg.MUTED, opacity=1).encode(
            x=x, description=alt.Description("label:N")
        ),
        ours.mark_rule(strokeWidth=2.5, color=svg.SERIES[0], opacity=0.55, aria=False).encode(
            x=alt.X("low:Q", scale=scale), x2=alt.X2("high:Q")
        ),
        ours.mark_point(filled=True, size=80, color=svg.SERIES[0], opacity=1).encode(
            x=x, description=alt.Description("label:N")
        ),
    ]
    if metric == "confidence":
        zero = alt.Chart(alt.Data(values=[{"value": 0}])).mark_rule(color=svg.MUTED, aria=False)
        layers.insert(0, zero.encode(x=alt.X("value:Q", scale=scale)))
    return styled(alt.layer(*layers), 430, 44 + 24 * len({str(row["name"]) for row in rows}))


def _domain(rows: list[dict[str, object]], metric: str) -> tuple[float, float]:
    if metric == "confidence":
        return -100, 100
    values = [float(str(row.get(key, row["value"]))) for row in rows for key in ("low", "high")]
    return (floor(min(values), 0.1), 1) if metric == "accuracy" else (0, 1.05 * max(values))
