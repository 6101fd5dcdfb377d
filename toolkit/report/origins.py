"""Tables of where figures come from: what was published, and what ours were made from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from toolkit.report import words
from toolkit.report.gather import Gathered
from toolkit.report.published import Inference, Published
from toolkit.report.tables import Cell, Table, table


def published_tests(found: Published) -> Table:
    """Published test loss and accuracy, and ours."""
    columns = ("Network", "Stage", "Head", "#Loss, published", "#Loss, ours", "#Accuracy, published", "#Accuracy, ours")
    rows = (
        (
            words.network(test.network),
            words.stage(test.stage),
            test.head,
            f"{test.loss:.4f}",
            f"{test.ours.evaluation.loss:.4f}" if test.ours else NOT_RUN,
            words.percent(test.accuracy, 2),
            words.percent(test.ours.evaluation.accuracy, 2) if test.ours else NOT_RUN,
        )
        for test in found.tests
    )
    return table("Test loss and accuracy, published and ours", columns, rows, "published_tests.csv")


NOT_RUN = Cell("not run", mood="quiet")


def published_inferences(found: Published) -> Table:
    """Published inferences per second and confidence, and our rates."""
    columns = ("Precision", "Network", "Stage", "Head", "#Mask, inf./s", "#Mask, confidence", "#No mask, inf./s")
    more = ("#No mask, confidence", "#Ours, offline inf./s", "#Ours, confidence")
    return table(
        "On the device, published and ours",
        columns + more,
        map(_inference_row, found.inferences),
        "published_inferences.csv",
    )


def _inference_row(row: Inference) -> Iterator[Cell | str]:
    yield row.precision.upper()
    yield words.network(row.network)
    yield words.stage(row.stage)
    yield row.head
    for speed, sure in (row.mask, row.no_mask):
        yield f"{speed:.0f}"
        yield Cell(f"{words.MINUS}{-sure:.2f} %", mood="bad") if sure < 0 else f"{sure:.2f} %"
    rates = [measured.rate for measured in row.ours.measured] if row.ours else []
    yield Cell(words.span(rates, "/s")) if any(rates) else NOT_RUN
    yield NOT_RUN


def lineage(gathered: Gathered) -> Table:
    """From each bundle back to the split: digests."""
    columns = ("Form", "Bundle", "IR", "Model", "Split", "Run", "First weights", "#Parameters", "Input", "Scaling")
    return table("What each figure was made from", columns, _lineage_rows(gathered), "lineage.csv")


def _lineage_rows(gathered: Gathered) -> Iterator[Iterable[Cell | str]]:
    seen: set[str] = set()
    for variant in gathered.variants:
        model, ir, bundle = variant.model, variant.ir, variant.bundle
        anchor = "" if model.digest in seen else f"model-{model.digest[:12]}"
        seen.add(model.digest)
        yield (
            words.model(model, ir.precision),
            Cell(bundle.short, mood="mono", anchor=f"bundle-{bundle.short}") if bundle else Cell("none", mood="quiet"),
            Cell(ir.digest[:12], mood="mono", anchor=f"ir-{ir.digest[:12]}"),
            Cell(model.digest[:12], mood="mono", anchor=anchor),
            Cell(model.parent[:12], f"#split-{model.parent[:12]}", "mono"),
            Cell(model.run[:12], mood="mono"),
            model.weights,
            f"{model.parameters:,}",
            f"{model.input_size[0]} x {model.input_size[1]}, {model.crop}",
            model.scaling,
        )


def splits(gathered: Gathered) -> Table:
    """The data: pictures per part and label."""
    columns = ("Split", "Data", "Note", "Part", "#Pictures", "Per label")
    rows = (
        (
            Cell(split.digest[:12], anchor=f"split-{split.digest[:12]}" if first else ""),
            split.name,
            Cell(split.note or "none", mood="" if split.note else "quiet"),
            part,
            f"{sum(counts.values()):,}",
            ", ".join(f"{label} {count:,}" for label, count in sorted(counts.items())[:12]),
        )
        for split in gathered.splits
        for first, (part, counts) in zip((True, False, False), _parts(split.counts.items()), strict=False)
    )
    return table("The data", columns, rows)


def _parts(items: Iterable[tuple[str, object]]) -> list[tuple[str, dict[str, int]]]:
    order = ("train", "validation", "test")
    return [(part, dict(counts)) for part, counts in sorted(items, key=lambda item: order.index(item[0]))]  # type: ignore[call-overload]  # counts is a mapping
