"""The table of `bench --choose`: every variant of a model on each kind of device, and the one chosen for it."""

from __future__ import annotations

from collections.abc import Iterator

from toolkit.artifacts.bench import VariantChoice, VariantResult
from toolkit.progress import format_bytes
from toolkit.report import formatting
from toolkit.report.data.load import ReportData
from toolkit.report.tables.results_tables import Cell, Table, table


def variant_choices(report: ReportData) -> Table:
    """Each measured variant in a row."""
    columns = ("Kind of device", "Variant", "#p90 in ms", "#Accuracy", "#Size", "Verdict", "Measured on")
    rows = (_row(choice, variant) for choice in report.variant_choices for variant in choice.variants)
    return table("The fastest variant on each kind of device", columns, rows)


def _row(choice: VariantChoice, variant: VariantResult) -> Iterator[Cell | str]:
    yield choice.kind
    yield variant.name
    yield "" if variant.p90_ms is None else f"{variant.p90_ms:.2f}"
    yield "" if variant.accuracy is None else formatting.percent(variant.accuracy)
    yield format_bytes(variant.size_bytes)
    if variant.bundle == choice.bundle:
        yield Cell(f"fastest: {choice.reason}", style="good")
    else:
        yield Cell(f"not eligible: {variant.excluded}" if variant.excluded else "slower, or larger", style="quiet")
    yield choice.device
