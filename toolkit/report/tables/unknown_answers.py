"""Table of the models that may answer "unknown": the requested and the actual error rate."""

from __future__ import annotations

from toolkit.artifacts.model import Rejection, TrainedModel
from toolkit.report import formatting
from toolkit.report.data.load import ReportData
from toolkit.report.tables.results_tables import Cell, Table, table, to_model
from toolkit.stats import intervals

COLUMNS = (
    "Model",
    "Score",
    "#Requested",
    "#Wrong, of answers",
    "#95 % interval",
    "#Answered",
    "#Strangers unknown",
    "#AUROC",
    "#of the probability",
)


def unknown_answers(report: ReportData) -> Table:
    """The rates are of test images; the threshold is of validation images."""
    rows = (_row(model, model.rejection) for model in report.models if model.rejection is not None)
    return table('When a model answers "unknown"', COLUMNS, rows)


def _row(model: TrainedModel, rule: Rejection) -> tuple[Cell | str, ...]:
    answers, errors = rule.test_answers, rule.test_errors
    rate = formatting.percent(errors / answers) if answers else formatting.NOTHING
    held = formatting.interval(*intervals.wilson(errors, answers)) if answers else formatting.NOTHING
    return (
        Cell(formatting.model(model), to_model(model)),
        rule.score,
        formatting.percent(rule.error),
        rate,
        held,
        formatting.percent(answers / rule.test_images) if rule.test_images else formatting.NOTHING,
        *_strangers(rule),
    )


def _strangers(rule: Rejection) -> tuple[str, str, str]:
    others = rule.strangers
    if others is None:
        return (formatting.NOTHING,) * 3
    classes = f" ({others.classes_left_out} classes left out)" if others.classes_left_out else ""
    return (
        f"{others.unknown:,} of {others.images:,}{classes}",
        f"{others.auroc:.4f}",
        f"{others.auroc_of_probability:.4f}",
    )
