"""Table of imported models: accuracy, speed, and agreement with the original file."""

from __future__ import annotations

from collections.abc import Iterator

from toolkit.report import formatting
from toolkit.report.data.load import ReportData
from toolkit.report.data.variants import Variant
from toolkit.report.render import export_json
from toolkit.report.tables.results_tables import Cell, Table, table


def imported_models(report: ReportData) -> Table:
    """A row per form; the digests lead to the raw records."""
    columns = (
        "Model",
        "File",
        "Format",
        "Variant",
        "#Images",
        "#Accuracy of the file",
        "#Accuracy",
        "#Parity, max. diff.",
    )
    rows = map(_row, report.imported_variants)
    return table("Imported models", (*columns, "#p90, ms", "#Samples/s", "#Size"), rows)


def _row(of: Variant) -> Iterator[Cell | str]:
    model, ir = of.model, of.ir
    yield Cell(formatting.network(model.network), export_json.file_of(model))
    yield model.weights
    yield model.imported.format if model.imported else ""
    yield formatting.precision(ir)
    yield f"{ir.parity.images:,}"
    yield formatting.percent(model.evaluation.accuracy)
    yield formatting.percent(of.accuracy)
    yield Cell(formatting.number(ir.parity.max_abs, 2), export_json.file_of(ir), "" if ir.parity.passed else "bad")
    latency = next((measured.latency for measured in of.measured if measured.latency), None)
    yield Cell(formatting.span((m.p90_ms for m in of.measured), ""), export_json.file_of(latency) if latency else "")
    offline = next((measured.offline for measured in of.measured if measured.offline), None)
    yield Cell(formatting.span((m.rate for m in of.measured), ""), export_json.file_of(offline) if offline else "")
    yield formatting.size(ir.size_bytes)
