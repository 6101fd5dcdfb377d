"""Tables of single classes: scores, confusions, and the ranking of classes within an image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from toolkit.artifacts.model import TrainedModel
from toolkit.report import formatting
from toolkit.report.data.load import ReportData
from toolkit.report.tables.results_tables import Cell, Table, label_cell, table, to_model


def classes(report: ReportData) -> Table:
    """Precision, recall and F1 of every model for every class."""
    columns = ("Model", "Class", "#Precision", "#Recall", "#F1", "#Images")
    rows = (
        (
            Cell(formatting.model(m), to_model(m)),
            label_cell(s.label),
            f"{s.precision:.3f}",
            f"{s.recall:.3f}",
            f"{s.f1:.3f}",
            f"{s.support:,}",
        )
        for m in report.models
        for s in m.evaluation.classes
    )
    return table("Precision, recall and F1 per class", columns, rows, "classes.csv")


def multilabel(report: ReportData) -> Table:
    """Return the metrics of multi-label models."""
    columns = ("Model", "#Exact match", "#Hamming loss", "#Micro F1", "#Macro F1", "#mAP", "#mAP, 11 points")
    rows = (
        (
            Cell(formatting.model(model), to_model(model)),
            formatting.percent(model.evaluation.accuracy, 2),
            f"{metrics.hamming_loss:.4f}",
            f"{metrics.micro.f1:.4f}",
            f"{metrics.macro.f1:.4f}",
            formatting.number(metrics.mean_average_precision),
            formatting.number(metrics.mean_eleven_point),
        )
        for model in report.models
        if (metrics := model.evaluation.multilabel)
    )
    return table("Multi-label metrics", columns, rows)


MOST_CONFUSED = 5


def confused(report: ReportData) -> Table:
    """Return the most frequent confusions of models with more than two classes."""
    columns = ("Model", "Class", "Predicted as", "#Images", "#Share of the class")
    rows = (row for model in report.models if len(model.labels) > 2 for row in _confused_rows(model))
    return table("Most often confused", columns, rows, "confusion.csv")


def _confused_rows(model: TrainedModel) -> Iterator[tuple[Cell | str, ...]]:
    pairs = [
        (count, sum(row), true, answer)
        for true, row in enumerate(model.evaluation.confusion)
        for answer, count in enumerate(row)
        if count and answer != true
    ]
    for count, total, true, answer in sorted(pairs, key=lambda pair: (-pair[0], pair[2:]))[:MOST_CONFUSED]:
        share = formatting.percent(count / total)
        yield (
            Cell(formatting.model(model), to_model(model)),
            label_cell(model.labels[true]),
            label_cell(model.labels[answer]),
            f"{count:,}",
            share,
        )


RANKS = 4


def ranked(report: ReportData) -> Table:
    """Return the classes of the first test image by probability, for models with more than two classes."""
    models = [model for model in report.models if len(model.labels) > 2 and model.evaluation.probabilities]
    shown = [(model, tests[0]) for model in models if (tests := report.tests.get(model.parent))]
    columns = ("Model", "Is", *(f"{n + 1}." for n in range(RANKS)))
    rows = (_ranked_row(model, [model.labels[n] for n in image.indices]) for model, image in shown)
    name = f" ({shown[0][1].sha256[:12]})" if shown else ""
    return table(f"The classes of one image{name}, ranked", columns, rows)


def _ranked_row(model: TrainedModel, truth: Sequence[str]) -> Iterator[Cell | str]:
    yield Cell(formatting.model(model), to_model(model))
    yield formatting.listed(map(formatting.shortened, truth))
    yield from _likeliest(model)


def _likeliest(model: TrainedModel) -> Iterator[str]:
    shares = model.evaluation.probabilities[0]
    best = sorted(range(len(shares)), key=lambda index: -shares[index])[:RANKS]
    yield from (f"{formatting.shortened(model.labels[index])} {formatting.percent(shares[index], 2)}" for index in best)
    yield from [formatting.NOTHING] * (RANKS - len(best))
