"""Models that were not trained here: each form of each file, how right and how fast it is, and how near to the file."""

from __future__ import annotations

from collections.abc import Iterator

from toolkit.report import raw, words
from toolkit.report.gather import Gathered
from toolkit.report.tables import Cell, Table, table
from toolkit.report.variants import Variant


def elsewhere(gathered: Gathered) -> Table:
    """A row per form; the digests lead to the raw records."""
    columns = (
        "Model",
        "File",
        "Format",
        "Form",
        "#Pictures",
        "#Accuracy of the file",
        "#Accuracy",
        "#Parity, max. diff.",
    )
    rows = map(_row, gathered.foreign)
    return table("Models from elsewhere", (*columns, "#p90, ms", "#Samples/s", "#Size, MB"), rows)


def _row(of: Variant) -> Iterator[Cell | str]:
    model, ir = of.model, of.ir
    yield Cell(words.network(model.network), raw.file_of(model))
    yield model.weights
    yield model.foreign.format if model.foreign else ""
    yield words.precision(ir)
    yield f"{ir.parity.pictures:,}"
    yield words.percent(model.evaluation.accuracy)
    yield words.percent(of.accuracy)
    yield Cell(words.number(ir.parity.max_abs, 2), raw.file_of(ir), "" if ir.parity.passed else "bad")
    latency = next((measured.latency for measured in of.measured if measured.latency), None)
    yield Cell(words.span((m.p90_ms for m in of.measured), ""), raw.file_of(latency) if latency else "")
    offline = next((measured.offline for measured in of.measured if measured.offline), None)
    yield Cell(words.span((m.rate for m in of.measured), ""), raw.file_of(offline) if offline else "")
    yield f"{ir.size_bytes / 1e6:.1f}"
