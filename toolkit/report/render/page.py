"""The page: one HTML file without external resources."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from toolkit.analysis import outliers, regressions
from toolkit.artifacts.model import TrainedModel
from toolkit.report import formatting
from toolkit.report.charts import (
    learning_curves,
    pareto,
    results_charts,
    risk_coverage,
    roc_pr_calibration,
    sample_efficiency_charts,
    svg,
)
from toolkit.report.data import misclassified, paired_tests, provenance
from toolkit.report.data.load import ReportData
from toolkit.report.published.results import PublishedResults
from toolkit.report.recommendation import Recommendation
from toolkit.report.render import export_json
from toolkit.report.tables import (
    class_tables,
    data_drift,
    drift,
    imported_models,
    latency_history,
    lineage,
    model_size,
    published_comparison,
    results_tables,
    retrained,
    shadow_runs,
    unknown_answers,
    variant_choices,
)

SIZE_LABELS = {"fp32": "large", "fp16": "small", "int8": "smallest"}
MOST_ROWS = 100
"""Of a table on the page; its CSV file or report.md has them all."""
STATES = {"good": "passed", "warning": "see the text", "bad": "failed", "none": "not checked"}


@dataclass(frozen=True, slots=True)
class Content:
    """What the page and the Markdown both show."""

    report: ReportData
    recommendation: Recommendation
    published: PublishedResults | None
    tables: dict[str, results_tables.Table]
    heads_verdict: str
    """One sentence on sigmoid against softmax; empty where there is no pair of them."""


@dataclass(frozen=True, slots=True)
class Tile:
    """One large figure of the verdict."""

    value: str
    label: str
    href: str


def content(
    report: ReportData,
    recommendation: Recommendation,
    published: PublishedResults | None,
    counted: Sequence[model_size.Counted],
) -> Content:
    """Every table, by name."""
    pairs = tuple(paired_tests.heads(report))
    tables = {
        "models": results_tables.models(report),
        "trained": results_tables.trained(report),
        "heads": results_tables.heads(pairs),
        "networks": results_tables.networks(paired_tests.networks(report)),
        "classes": class_tables.classes(report),
        "multilabel": class_tables.multilabel(report),
        "confused": class_tables.confused(report),
        "ranked": class_tables.ranked(report),
        "rejection": unknown_answers.unknown_answers(report),
        "parity": results_tables.parity(report),
        "layer_errors": lineage.layer_errors(report),
        "checks": lineage.checks(report),
        "devices": results_tables.devices(report),
        "speeds": results_tables.speeds(report),
        "variant_choices": variant_choices.variant_choices(report),
        "history": latency_history.history(report),
        "drift": drift.drift(report),
        "outliers": drift.outliers(report),
        "imported": imported_models.imported_models(report),
        "serving": latency_history.serving(report, recommendation.choice),
        "records": results_tables.records(report),
        "sizes": model_size.sizes(counted),
        "separations": model_size.separations(counted),
        "retrained": retrained.comparisons(report),
        "labels": retrained.lineage_of_labels(report),
        "shadow": shadow_runs.shadow_runs(report),
        "cameras": data_drift.cameras(report),
        "splits": lineage.splits(report),
        "lineage": lineage.lineage(report),
    }
    if published:
        tables |= published_comparison.tables(published, report)
    return Content(report, recommendation, published, tables, heads_verdict(pairs) if pairs else "")


def render(shown: Content, csv_names: Sequence[str]) -> str:
    """The page's HTML."""
    from altair.utils.schemapi import debug_mode
    from jinja2 import Environment, PackageLoader

    report, recommendation = shown.report, shown.recommendation
    pairs = tuple(paired_tests.heads(report))
    with debug_mode(False):  # Altair would check each part of the specifications made here against its schema: a second
        values: dict[str, Any] = {
            "curves": tuple(learning_curves.curves(report)),
            "behind": tuple(roc_pr_calibration.panels(report)),
            "risk": tuple(risk_coverage.panels(report)),
            "efficiency": tuple(sample_efficiency_charts.panels(report)),
            "contact": misclassified.contact(report),
            "heads": results_charts.differences(pairs) if pairs else "",
            "heads_verdict": shown.heads_verdict,
            "latency": pareto.panels(report, "latency"),
            "matrices": tuple(_matrices(report)),
            "networks": [
                (formatting.network(n), svg.SERIES.index(c) + 1) for n, c in results_charts.series(report).items()
            ],
            "published_charts": tuple(published_comparison.charts(shown.published)) if shown.published else (),
            "scores": tuple(results_charts.scores(report)),
            "throughput": pareto.panels(report, "rate"),
        }
    page = Environment(
        loader=PackageLoader("toolkit.report.render", ""), autoescape=True, trim_blocks=True, lstrip_blocks=True
    ).get_template("page.html.j2")
    html = page.render(
        **values,
        chosen=_chosen(report, recommendation),
        commands=provenance.commands(report),
        contents=_contents(shown, values),
        csv_names=csv_names,
        data_label=published_comparison.data_label(report),
        data_names=formatting.listed(split.name for split in report.splits),
        device_names=formatting.listed(report.devices) or "none yet",
        report=report,
        history_alpha=regressions.ALPHA,
        history_shift=formatting.percent(regressions.LEAST_SHIFT, 0),
        key=_key(report),
        most_rows=MOST_ROWS,
        mistakes_each=misclassified.EACH,
        outlier_gap=formatting.percent(outliers.LEAST_GAP, 0),
        images_note=published_comparison.images_note(report) if shown.published else "",
        published=shown.published,
        states=STATES,
        style=resources.files("toolkit.report.render").joinpath("page.css").read_text("utf-8"),
        tables=shown.tables,
        tiles=tuple(_tiles(recommendation)),
        two_classes=_two_classes(report),
        recommendation=recommendation,
        versions=provenance.versions(report),
        why_different=provenance.why_different(report),
        warned=provenance.warnings(report),
        formatting=formatting,
    )
    return re.sub(r"\n\s*\n+", "\n", _linked(html, _record_files(report)))


def _linked(html: str, files: Mapping[str, str]) -> str:
    """Links to records that the page has no row of, as it is too small for them, lead to their files."""
    rows = set(re.findall(r'id="record-(\w+)"', html))
    return re.sub(
        r'href="#record-(\w+)"', lambda link: link[0] if link[1] in rows else f'href="{files[link[1]]}"', html
    )


def _record_files(report: ReportData) -> dict[str, str]:
    """The file of each bench record by the digits that links have of its digest."""
    return {record.digest[:12]: export_json.file_of(record) for record in export_json.all_records(report)}


def _contents(shown: Content, values: dict[str, Any]) -> list[tuple[str, str]]:
    parts = (
        ("speed", "Speed against accuracy", values["latency"] or values["throughput"]),
        ("models", "Every model", True),
        ("training", "Training", values["curves"]),
        ("heads", "Sigmoid against softmax", values["heads"]),
        ("classes", "Class by class", shown.tables["classes"].rows),
        ("behind", "Behind the accuracy", values["behind"] or values["contact"].models),
        ("rejection", "When a model answers unknown", shown.tables["rejection"].rows),
        ("parity", "Parity", shown.report.variants),
        ("devices", "Devices", shown.report.records),
        ("history", "History and peers", shown.tables["history"].rows or shown.tables["outliers"].rows),
        ("imported", "Imported models", shown.tables["imported"].rows),
        ("published", "Published, and ours", shown.published),
        ("sizes", "Model sizes", shown.tables["sizes"].rows),
        ("made", "How it was made", True),
    )
    return [(anchor, title) for anchor, title, shown_ in parts if shown_]


def _key(report: ReportData) -> dict[str, Any]:
    """What the marks of the frontier mean, as far as they occur."""
    models, precisions = [v.model for v in report.variants], {v.ir.precision for v in report.variants}
    return {
        "heads": [head for head in pareto.SHAPES if any(model.head == head for model in models)],
        "hollow": any(model.stage == "top" for model in models),
        "precisions": [
            (round(math.sqrt(size / math.pi) * 0.75, 1), f"{SIZE_LABELS[precision]}: {precision.upper()}")
            for precision, size in pareto.SIZES.items()
            if precision in precisions and len(precisions) > 1
        ],
    }


def _tiles(recommendation: Recommendation) -> Iterator[Tile]:
    choice = recommendation.choice
    if choice is None:
        return
    yield Tile(
        formatting.percent(choice.accuracy), f"test accuracy ({formatting.interval(*choice.interval)})", choice.link("")
    )
    if choice.measured:
        yield Tile(
            formatting.span((m.p90_ms for m in choice.measured), "ms"),
            "p90 latency, one image at a time",
            choice.link("single-stream"),
        )
        yield Tile(formatting.span((m.rate for m in choice.measured), "/s"), "images, offline", choice.link("offline"))
    yield Tile(
        formatting.size(choice.ir.size_bytes),
        f"of {choice.ir.precision.upper()} weights, IR for {choice.ir.target}",
        choice.link(""),
    )


def _chosen(report: ReportData, recommendation: Recommendation) -> int | None:
    return next((n for n, variant in enumerate(report.variants) if variant is recommendation.choice), None)


def _two_classes(report: ReportData) -> str:
    """Which of two classes the curves are of; empty where there are more."""
    labels = {model.labels for model in report.models}
    return next(iter(labels))[1] if all(len(each) == 2 for each in labels) and len(labels) == 1 else ""


def _matrices(report: ReportData) -> Iterator[dict[str, Any]]:
    for model in report.models:
        if model.evaluation.confusion and len(model.labels) <= results_charts.MANY_CLASSES:
            yield {"title": formatting.model(model), "labels": model.labels, "rows": list(_matrix_rows(model))}


def _matrix_rows(model: TrainedModel) -> Iterator[dict[str, Any]]:
    for true, (label, row) in enumerate(zip(model.labels, model.evaluation.confusion, strict=True)):
        total = sum(row) or 1
        cells = [
            {"images": n, "share": round(100 * n / total), "kind": "right" if true == predicted else "wrong"}
            for predicted, n in enumerate(row)
        ]
        yield {"label": label, "cells": cells}


def heads_verdict(pairs: Sequence[paired_tests.Pair]) -> str:
    """One sentence on sigmoid against softmax."""
    if apart := [pair for pair in pairs if pair.is_significant]:
        names = formatting.listed(
            f"{formatting.network(p.first.network)}, {formatting.stage(p.first.stage)}" for p in apart
        )
        return f"The test finds a difference between the two heads for {names}."
    return "The test finds no difference between the two heads for any network or stage."
