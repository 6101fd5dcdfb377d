"""Tables of regressions and outliers."""

from __future__ import annotations

from collections.abc import Iterator

from toolkit.analysis import Outlier, Regression
from toolkit.analysis.comparability import ComparisonKey
from toolkit.artifacts.bench import BenchRecord
from toolkit.report import formatting
from toolkit.report.data.load import ReportData
from toolkit.report.tables.results_tables import Cell, Table, table

STYLES = {"slower": "bad", "faster": "good", "same": "quiet"}


def drift(report: ReportData) -> Table:
    """Return the changes since earlier runs, the largest first."""
    changes = sorted((c for c in report.compared if c.change != "same"), key=lambda c: (-c.shift, c.device))
    columns = (
        "Device",
        "Model",
        "Scenario",
        "#Runs",
        "#Before, ms",
        "#Now, ms",
        "#Change",
        "#p",
        "",
        "Other changes",
    )
    return table("Changes in speed", columns, map(_drift_row, changes))


def _drift_row(of: Regression) -> Iterator[Cell | str]:
    yield of.device
    yield from _key_cells(of.kind)
    yield str(len(of.earlier) + 1)
    yield linked(of.earlier[-1], formatting.number(of.before_ms))
    yield linked(of.newest, formatting.number(of.now_ms))
    yield signed(of.shift)
    yield p_value(of.p_value)
    yield Cell(of.change, style=STYLES[of.change])
    yield formatting.listed(of.changed) or Cell("none in its records", style="quiet")


def outliers(report: ReportData) -> Table:
    """Return the outliers, the slowest first."""
    columns = (
        "Device",
        "Model",
        "Scenario",
        "Compared with",
        "#Usual, ms",
        "#Here, ms",
        "#Deviation",
        "Causes in its record",
    )
    return table("Outliers among similar devices", columns, map(_outlier_row, report.outliers))


def _outlier_row(of: Outlier) -> Iterator[Cell | str]:
    yield of.device
    yield from _key_cells(of.kind)
    yield formatting.count(len(of.peers), "device")
    yield linked(of.peers[0], formatting.number(of.usual_ms))
    yield linked(of.record, formatting.number(of.now_ms))
    yield Cell(signed(of.gap), style="bad" if of.gap > 0 else "")
    yield formatting.listed(of.causes) or Cell("nothing", style="quiet")


def _key_cells(kind: ComparisonKey) -> tuple[str, str]:
    """Model and scenario, with what sets the kind apart."""
    name = kind.name if kind.accelerator == "CPU" else f"{kind.name}, {kind.accelerator}"
    return name, f"{kind.scenario}{', quick' if kind.quick else ''}"


def linked(record: BenchRecord, text: str) -> Cell:
    """A figure that leads to its raw record."""
    return Cell(text, f"#record-{record.digest[:12]}")


def signed(fraction: float) -> str:
    """A change in percent, with a true minus."""
    return f"{100 * fraction:+.0f} %".replace("-", formatting.MINUS)


def p_value(value: float) -> str:
    """Return a p-value, rounded."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
