"""Published results of an experiment, read from data files and joined with ours.

One file per experiment under published/: where it was published, on which data, and tables of named columns. A column is
either what names a row (network, stage, head, precision, start) or a figure of `toolkit.report.published.metrics`, such as
"accuracy" or "confidence:with_mask". `match` lists what must agree for one of our models to stand beside a row.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from typing import Any

from toolkit.artifacts.model import TrainedModel
from toolkit.errors import ConfigurationError
from toolkit.report.data.load import STAGES, ReportData
from toolkit.report.published.metrics import METRICS, Figure, OurResult


@dataclass(frozen=True, slots=True)
class Row:
    """One published row: what names it, its figures, and what we have of the same kind, if anything."""

    names: Mapping[str, str]
    figures: tuple[tuple[Figure, float], ...]
    ours: OurResult | None


@dataclass(frozen=True)
class Sheet:
    """One published table."""

    name: str
    caption: str
    match: tuple[str, ...]
    rows: tuple[Row, ...]

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """What names a row."""
        return tuple(self.rows[0].names)

    @cached_property
    def figures(self) -> tuple[Figure, ...]:
        """The published columns, those of one measure beside each other."""
        figures = [figure for figure, _ in self.rows[0].figures]
        order = list(dict.fromkeys(figure.metric.name for figure in figures))
        return tuple(sorted(figures, key=lambda figure: order.index(figure.metric.name)))


@dataclass(frozen=True, slots=True)
class PublishedResults:
    """All that was published for one experiment."""

    source: str
    data: str
    hardware: str
    training: str
    same_data: bool
    """Whether ours is the published data; otherwise the figures stand side by side and are not compared."""
    sheets: tuple[Sheet, ...]


def names() -> list[str]:
    """The experiments that published figures are known for."""
    files = resources.files("toolkit.report.published").iterdir()
    return sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))


def load(name: str, report: ReportData) -> PublishedResults:
    """The published figures of `name` beside ours.

    Raises:
        ConfigurationError: there is no such table.
    """
    if name not in names():
        known = ", ".join(names())
        raise ConfigurationError(f'no published figures named "{name}"', where="published", remedy=f"known: {known}")
    content = tomllib.loads(resources.files("toolkit.report.published").joinpath(f"{name}.toml").read_text("utf-8"))
    return PublishedResults(
        source=content["source"],
        data=content["data"],
        hardware=content["hardware"],
        training=content["training"],
        same_data=_same_data(content["same"], report),
        sheets=tuple(_sheet(table, report) for table in content["tables"]),
    )


def _same_data(same: Mapping[str, Any], report: ReportData) -> bool:
    """By the kind of source and the number of images; nothing that carries a note is."""
    if report.plan is None or report.plan.data.source not in same["sources"]:
        return False
    totals = {sum(map(split.size, split.counts)) for split in report.splits}
    return not report.notes and totals == {same["images"]}


def _sheet(table: Mapping[str, Any], report: ReportData) -> Sheet:
    match = tuple(table["match"])
    rows = tuple(_row(dict(zip(table["columns"], row, strict=True)), match, report) for row in table["rows"])
    return Sheet(table["name"], table["caption"], match, rows)


def _row(cells: Mapping[str, str | float], match: Sequence[str], report: ReportData) -> Row:
    names = {column: str(value) for column, value in cells.items() if isinstance(value, str)}
    figures = tuple((_figure(column), float(value)) for column, value in cells.items() if column not in names)
    keys = {key: names[key] for key in match}
    fitting = (own for own in _all_ours(report, "precision" in match) if keys.items() <= own.keys.items())
    return Row(names, figures, max(fitting, key=_weight, default=None))


def _weight(own: OurResult) -> tuple[int, bool]:
    """Of several that fit a row: the last stage, and a form that was measured."""
    return STAGES.index(own.model.stage), bool(own.variant and own.variant.measured)


def _figure(column: str) -> Figure:
    metric, _, label = column.partition(":")
    return Figure(METRICS[metric], label)


def _all_ours(report: ReportData, by_precision: bool) -> Iterator[OurResult]:
    """Every model, or every form of it; the keys are what a row may be matched by."""
    if by_precision:
        for variant in report.variants:
            yield OurResult(report, variant.model, variant, _keys(variant.model) | {"precision": variant.ir.precision})
        return
    for model in report.models:
        yield OurResult(report, model, None, _keys(model))


def _keys(model: TrainedModel) -> dict[str, str]:
    start = "random" if model.weights == "none" else "pretrained"
    return {"network": model.network, "stage": model.stage, "head": model.head, "start": start}
