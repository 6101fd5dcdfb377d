"""Tables of lineage: the data, and the digests from each bundle back to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from toolkit.artifacts.bundle import Bundle, IrModel
from toolkit.artifacts.dataset import Split
from toolkit.artifacts.model import TrainedModel
from toolkit.report import formatting
from toolkit.report.data.load import ReportData
from toolkit.report.render import export_json
from toolkit.report.tables.results_tables import Cell, Table, table

NONE = Cell("none", style="quiet")


def lineage(report: ReportData) -> Table:
    """From each bundle back to the split: digests. Models that were not converted come last."""
    columns = ("Variant", "Bundle", "IR", "Model", "Split", "Run", "Initial weights", "#Parameters", "Input", "Scaling")
    return table("Lineage of each figure", columns, _lineage_rows(report), "lineage.csv")


def _lineage_rows(report: ReportData) -> Iterator[Iterable[Cell | str]]:
    seen: set[str] = set()
    for variant in report.variants:
        model, ir, bundle = variant.model, variant.ir, variant.bundle
        made = (_raw(bundle, f"bundle-{bundle.short}") if bundle else NONE, _raw(ir, f"ir-{ir.digest[:12]}"))
        yield formatting.variant_name(model, ir), *made, *_model_cells(report, model, first=model.digest not in seen)
        seen.add(model.digest)
    for model in report.models:
        if model.digest not in seen:
            yield formatting.model(model), NONE, NONE, *_model_cells(report, model, first=True)


def _model_cells(report: ReportData, model: TrainedModel, *, first: bool) -> Iterator[Cell | str]:
    known = any(split.digest == model.parent for split in report.splits)
    yield _raw(model, f"model-{model.digest[:12]}" if first else "")
    yield Cell(model.parent[:12], f"#split-{model.parent[:12]}" if known else "", "mono")
    yield Cell(model.run[:12], style="mono")
    yield model.weights
    yield f"{model.parameters:,}"
    yield f"{model.input_size[0]} x {model.input_size[1]}, {model.crop}"
    yield model.scaling


def _raw(of: Bundle | IrModel | TrainedModel | Split, anchor: str) -> Cell:
    return Cell(of.digest[:12], export_json.file_of(of), "mono", anchor)


def splits(report: ReportData) -> Table:
    """The data: images per part and label."""
    columns = ("Split", "Data", "Note", "Part", "#Images", "Per label")
    rows = (
        (
            _raw(split, f"split-{split.digest[:12]}" if first else ""),
            split.name,
            Cell(split.note or "none", style="" if split.note else "quiet"),
            part,
            f"{split.size(part):,}",
            ", ".join(f"{label} {count:,}" for label, count in sorted(counts.items())[:12]),
        )
        for split in report.splits
        for first, (part, counts) in zip((True, False, False), _parts(split.counts.items()), strict=False)
    )
    return table("The data", columns, rows)


def _parts(items: Iterable[tuple[str, object]]) -> list[tuple[str, dict[str, int]]]:
    order = ("train", "validation", "test")
    return [(part, dict(counts)) for part, counts in sorted(items, key=lambda item: order.index(item[0]))]  # type: ignore[call-overload]  # counts is a mapping


def checks(report: ReportData) -> Table:
    """Return the results of `toolkit check`: older runtimes and the compiler of the accelerator."""
    names = {v.bundle.digest: formatting.variant_name(v.model, v.ir) for v in report.variants if v.bundle}
    styles = {"passed": "good", "failed": "bad", "skipped": "quiet"}
    rows = (
        (
            names[check.parent],
            Cell(check.name, export_json.file_of(check)),
            Cell(check.outcome, style=styles[check.outcome]),
            check.message,
        )
        for check in report.checks
    )
    return table("Checked without a device", ("Variant", "Check", "Outcome", "Result"), rows)


STEEPEST = 5


def layer_errors(report: ReportData) -> Table:
    """Return the results of `toolkit parity`: the layers that deviate from the float32 graph."""
    names = {variant.ir.digest: formatting.variant_name(variant.model, variant.ir) for variant in report.variants}
    rows = (
        (
            names[errors.parent],
            Cell(layer.name, export_json.file_of(errors)),
            layer.kind,
            formatting.number(layer.added_error, 2),
            formatting.number(layer.error, 2),
            formatting.number(layer.largest),
        )
        for errors in report.layer_errors
        for layer in errors.largest_increases[:STEEPEST]
    )
    columns = ("Variant", "Layer", "Type", "#Added error", "#To", "#Largest value")
    return table("Layers with the largest added error", columns, rows)
