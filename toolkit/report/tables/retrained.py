"""Tables of the newest retraining: both models on the same images, and the lineage from labels to releases."""

from __future__ import annotations

from collections.abc import Iterator

from toolkit.artifacts.labeling import SIGNIFICANT, ModelComparison
from toolkit.report import formatting
from toolkit.report.data.load import ReportData
from toolkit.report.data.retraining import RetrainingData
from toolkit.report.tables.results_tables import Cell, Table, table


def comparisons(report: ReportData) -> Table:
    """The serving model and the new one on each set of test images."""
    data = report.retraining
    result = data.result if data else None
    serving, new = (result.serving_version, result.version) if result else ("", "")
    columns = ("Images", "#Number", f"#Serving ({serving})", f"#New ({new})", "#Difference", "95 %", "#p", "Verdict")
    rows = map(_row, result.comparisons) if result else ()
    return table("The model trained with labeled captures, compared with the serving one", columns, rows)


def _row(one: ModelComparison) -> Iterator[Cell | str]:
    yield one.images_of
    yield f"{one.images:,}"
    yield formatting.percent(one.serving)
    yield formatting.percent(one.new)
    yield formatting.points(one.difference)
    yield f"{formatting.points(one.interval[0])} to {formatting.points(one.interval[1])}"
    yield f"{one.p_value:.2g}"
    if one.lost:
        yield Cell("worse", style="bad")
    elif one.p_value < SIGNIFICANT:
        yield Cell("better", style="good")
    else:
        yield Cell("no significant difference", style="quiet")


def lineage_of_labels(report: ReportData) -> Table:
    """From the device and release that captured, through labels and version, to the releases that learned from them."""
    columns = (
        "Captured on",
        "By release",
        "Policy",
        "Labeled by",
        "In the data set",
        "Version",
        "Model",
        "Released to",
    )
    return table("From labels to releases", columns, _chain(report.retraining) if report.retraining else ())


def _chain(data: RetrainingData) -> Iterator[tuple[Cell | str, ...]]:
    devices = sorted({one.device for one in data.deployments if one.outcome in {"deployed", "unchanged"}})
    refused = Cell("not converted", style="bad", title=data.result.refused)
    released = formatting.listed(devices) if devices else refused if data.result.refused else "no device yet"
    for one in data.learned_from:
        yield (
            one.device,
            Cell(one.release[:12], style="mono"),
            one.policy,
            formatting.listed(one.people),
            ", ".join(f"{number} in {subset}" for subset, number in one.subsets),
            data.result.version,
            Cell(data.result.parent[:12], style="mono"),
            released,
        )
