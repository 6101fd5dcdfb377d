"""The main tables of the report, as plain values for the page and the Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice

from toolkit.artifacts.bench import BenchRecord
from toolkit.artifacts.model import TrainedModel
from toolkit.report import formatting
from toolkit.report.data.bench_record_values import p90_ms, rate
from toolkit.report.data.load import ReportData
from toolkit.report.data.paired_tests import Pair
from toolkit.report.data.variants import DeviceResults, Variant
from toolkit.report.render import export_json


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell: text, link and style ("good", "warning", "bad", "quiet", "mono" or none)."""

    text: str
    href: str = ""
    style: str = ""
    anchor: str = ""
    drawing: str = ""
    """An SVG instead of the text."""
    title: str = ""
    """The whole text, where `text` is cut."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table with a caption; a column whose title ends in a unit or holds figures is in `numeric`."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    numeric: frozenset[int] = frozenset()
    csv: str = ""


def table(caption: str, columns: Sequence[str], rows: Iterable[Iterable[Cell | str]], csv: str = "") -> Table:
    """Columns whose title begins with "#" hold figures and are set flush right."""
    return Table(
        caption,
        tuple(column.removeprefix("#") for column in columns),
        tuple(tuple(cell if isinstance(cell, Cell) else Cell(cell) for cell in row) for row in rows),
        frozenset(n for n, column in enumerate(columns) if column.startswith("#")),
        csv,
    )


def label_cell(label: str) -> Cell:
    """Return a class name, shortened for tables."""
    shown = formatting.shortened(label)
    return Cell(label) if shown == label else Cell(shown, title=label)


def to_model(model: TrainedModel) -> str:
    """Return the link of a trained model."""
    return f"#model-{model.digest[:12]}"


def models(report: ReportData) -> Table:
    """Return all converted models with their speeds."""
    columns = ("Network", "Head", "Stage", "Precision", "#Test accuracy", "#95 % interval", "#p90, ms", "#Samples/s")
    more = ("#Loss", "#Parity, max. diff.", "#Size")
    converted = {variant.model.digest for variant in report.variants}
    rows = chain(
        map(_model_row, report.variants),
        (_unconverted_row(model) for model in report.models if model.digest not in converted),
    )
    return table("Every variant of every model", columns + more, rows, "models.csv")


def _model_row(variant: Variant) -> Iterator[Cell]:
    model, ir = variant.model, variant.ir
    yield Cell(formatting.network(model.network), to_model(model))
    yield from map(
        Cell,
        (model.head, formatting.stage(model.stage), formatting.precision(ir), formatting.percent(variant.accuracy)),
    )
    yield Cell(formatting.interval(*variant.interval), style="quiet")
    yield Cell(formatting.span((m.p90_ms for m in variant.measured), ""), _first_record(variant))
    yield Cell(
        formatting.span((m.rate for m in variant.measured), ""), variant.link("offline") if variant.measured else ""
    )
    yield Cell(f"{model.evaluation.loss:.4f}", to_model(model))
    yield Cell(formatting.number(ir.parity.max_abs, 2), f"#ir-{ir.digest[:12]}", "" if ir.parity.passed else "bad")
    yield Cell(formatting.size(ir.size_bytes))


def _unconverted_row(model: TrainedModel) -> Iterator[Cell]:
    """Return the row of a model that was not converted."""
    judged = model.evaluation
    yield from map(Cell, (formatting.network(model.network), model.head, formatting.stage(model.stage)))
    yield Cell("not converted", style="quiet")
    yield Cell(formatting.percent(judged.accuracy))
    yield Cell(formatting.interval(*judged.interval), style="quiet")
    yield from map(
        Cell, (formatting.NOTHING, formatting.NOTHING, f"{judged.loss:.4f}", formatting.NOTHING, formatting.NOTHING)
    )


def _first_record(variant: Variant) -> str:
    record = next((m.latency for m in variant.measured if m.latency), None)
    return f"#record-{record.digest[:12]}" if record else ""


def trained(report: ReportData) -> Table:
    """Return all trained models with their evaluation in Keras."""
    columns = ("Network", "Head", "Stage", "Initial weights", "Input", "#Parameters", "#Epochs", "#Seconds")
    more = ("#Test accuracy", "#95 % interval", "#Top-5 error", "#Loss", "#Calibration error")
    shown: tuple[str, ...] = (
        more if any(model.evaluation.top5 is not None for model in report.models) else (*more[:2], *more[3:])
    )
    shown += ("Profile",) if any(model.profile for model in report.models) else ()
    rows = (_trained_row(model, shown) for model in report.models)
    return table("Every trained model, evaluated by Keras on the test images", columns + shown, rows, "classes.csv")


def _trained_row(model: TrainedModel, shown: Sequence[str]) -> Iterator[Cell | str]:
    judged = model.evaluation
    yield Cell(formatting.network(model.network), to_model(model))
    yield from (model.head, formatting.stage(model.stage), model.weights)
    yield f"{model.input_size[0]} x {model.input_size[1]}"
    yield f"{model.parameters:,}"
    yield str(sum(epoch.stage == model.stage for epoch in model.history))
    yield f"{model.seconds:,.0f}"
    yield formatting.percent(judged.accuracy, 2)
    yield Cell(formatting.interval(*judged.interval), style="quiet")
    if "#Top-5 error" in shown:
        yield formatting.percent(None if judged.top5 is None else 1 - judged.top5, 2)
    yield f"{judged.loss:.4f}"
    yield formatting.NOTHING if judged.calibration is None else f"{judged.calibration.ece:.4f}"
    if "Profile" in shown:
        yield model.profile or Cell("none named", style="quiet")


def heads(pairs: Iterable[Pair]) -> Table:
    """Sigmoid against softmax on the same images."""
    columns = (
        "Network",
        "Stage",
        "#Sigmoid",
        "#Softmax",
        "#Difference, points",
        "#95 % interval",
        "#Only sigmoid correct",
    )
    more = ("#Only softmax correct", "#McNemar p", "Significant")
    return table("Sigmoid against softmax", columns + more, map(_head_row, pairs), "heads.csv")


def _head_row(pair: Pair) -> Iterator[Cell | str]:
    yield formatting.network(pair.first.network)
    yield formatting.stage(pair.first.stage)
    yield from (Cell(formatting.percent(m.evaluation.accuracy), to_model(m)) for m in (pair.first, pair.second))
    yield formatting.points(pair.difference)
    yield Cell(f"{formatting.points(pair.interval[0])} to {formatting.points(pair.interval[1])}", style="quiet")
    yield str(pair.only_first)
    yield str(pair.only_second)
    yield f"{pair.p_value:.3f}"
    yield Cell("yes", style="good") if pair.is_significant else Cell("no", style="quiet")


def networks(pairs: Iterable[Pair]) -> Table:
    """The best network of each head against the others, on the same images."""
    columns = ("Best", "Other", "#Best", "#Other", "#Difference, points", "#95 % interval", "#Only best correct")
    more = ("#Only other correct", "#McNemar p", "Significant")
    rows = (
        (
            *(Cell(formatting.model(m), to_model(m)) for m in (pair.first, pair.second)),
            *tuple(_head_row(pair))[2:4],
            *_reversed(pair),
        )
        for pair in pairs
    )
    return table("The best network compared with the others", columns + more, rows)


def _reversed(pair: Pair) -> Iterator[Cell | str]:
    """As in the table of heads, with the difference as the first's less the second's."""
    low, high = -pair.interval[1], -pair.interval[0]
    yield formatting.points(-pair.difference)
    yield Cell(f"{formatting.points(low)} to {formatting.points(high)}", style="quiet")
    yield from tuple(_head_row(pair))[6:]


def parity(report: ReportData) -> Table:
    """Each converted model against Keras."""
    columns = ("Model", "Precision", "#Images", "#Max diff.", "#Mean diff.", "#Tolerance", "#Same top-1", "#Accuracy")
    return table(
        "Converted models against Keras", (*columns, "Verdict"), map(_parity_row, report.variants), "parity.csv"
    )


def _parity_row(variant: Variant) -> Iterator[Cell | str]:
    parity = variant.ir.parity
    yield Cell(formatting.model(variant.model), to_model(variant.model))
    yield Cell(formatting.precision(variant.ir), f"#ir-{variant.ir.digest[:12]}")
    yield f"{parity.images:,}"
    yield from (formatting.number(value, 2) for value in (parity.max_abs, parity.mean_abs))
    dropped = None if parity.max_drop is None else f"accuracy {formatting.points(-parity.max_drop)} points"
    yield dropped or formatting.number(parity.tolerance, 2)
    yield formatting.percent(parity.top1_agreement)
    yield formatting.percent(parity.accuracy)
    yield Cell("within", style="good") if parity.passed else Cell("outside", style="bad")


FACTS = ("model", "machine", "os", "kernel", "cores", "openvino", "python", "governor", "temperature_c")


def devices(report: ReportData) -> Table:
    """Return the devices, described by their newest records."""
    newest = {record.device: record for record in sorted(report.records, key=lambda record: record.at)}
    columns = (
        "Device",
        "Model",
        "Machine",
        "System",
        "Kernel",
        "#Cores",
        "OpenVINO",
        "Python",
        "Governor",
        "#Temperature",
    )
    rows = (
        (Cell(name, anchor=f"device-{name}"), *(_fact(newest[name], fact) for fact in FACTS)) for name in sorted(newest)
    )
    return table("The devices", columns, rows)


def _fact(record: BenchRecord, name: str) -> Cell:
    value = record.facts.get(name)
    if value is None or value == "":
        return Cell("not known", style="quiet")
    if name == "openvino":
        return Cell(str(value).partition("-")[0])  # the build is in the raw record
    return Cell(f"{value:.1f} °C" if name == "temperature_c" and isinstance(value, int | float) else str(value))


MOST_PLACES, MOST_RECORDS = 12, 100
"""Limits of the page for large fleets; records.csv and raw/ contain everything."""


def speeds(report: ReportData) -> Table:
    """Return p90 and samples/s of each converted model on each device, linked to the raw records."""
    places = sorted({(m.device, m.accelerator) for v in report.variants for m in v.measured})[:MOST_PLACES]
    names = [device if accelerator == "CPU" else f"{device} {accelerator}" for device, accelerator in places]
    columns = ("Model", "Precision", *(f"#{n}, p90 ms" for n in names), *(f"#{n}, /s" for n in names))
    rows = (_speed_row(variant, places) for variant in report.variants if variant.measured)
    return table("Speed on each device", (*columns, "#Accuracy there"), rows, "records.csv")


def _speed_row(variant: Variant, places: Sequence[tuple[str, str]]) -> Iterator[Cell | str]:
    results = {(measured.device, measured.accelerator): measured for measured in variant.measured}
    there = [results.get(place, DeviceResults(*place, None, None, None)) for place in places]
    yield formatting.model(variant.model)
    yield formatting.precision(variant.ir)
    yield from (_linked(measured.latency, formatting.number(measured.p90_ms)) for measured in there)
    yield from (_linked(measured.offline, formatting.number(measured.rate)) for measured in there)
    reached = (100 * m.accuracy.accuracy for m in there if m.accuracy and m.accuracy.accuracy is not None)
    yield Cell(formatting.span(reached, "%"), style="quiet")


def _linked(record: BenchRecord | None, text: str) -> Cell:
    return Cell(text, f"#record-{record.digest[:12]}" if record else "")


def records(report: ReportData) -> Table:
    """Return the raw records, valid or not."""
    columns = ("Record", "Bundle", "Device", "Scenario", "#Result", "#Queries", "#Seconds", "Computed in", "Validity")
    rows = (_record_row(variant, record) for variant in report.variants for record in variant.records)
    title = "Every record" if len(report.records) <= MOST_RECORDS else f"The first {MOST_RECORDS} records"
    return table(title, columns, islice(rows, MOST_RECORDS), "records.csv")


def _record_row(variant: Variant, record: BenchRecord) -> Iterator[Cell | str]:
    short = record.digest[:12]
    yield Cell(short, export_json.file_of(record), "mono", f"record-{short}")
    name = f"{formatting.variant_name(variant.model, variant.ir)}"
    yield Cell(name, f"#bundle-{record.parent[:12]}")
    yield record.device
    yield record.scenario
    yield result(record)
    yield f"{len(record.samples_ms) or record.images:,}"
    yield f"{record.wall_s:.1f}"
    yield computed_in(record)
    yield validity(record)


def result(record: BenchRecord) -> str:
    """A record's own figure with its unit."""
    if record.scenario == "accuracy":
        return formatting.percent(record.accuracy)
    if record.scenario == "offline":
        return f"{formatting.number(rate(record))} /s"
    p90 = p90_ms(record)
    return "too few for p90" if p90 is None else f"{formatting.number(p90)} ms"


def computed_in(record: BenchRecord) -> str:
    """Return the precision reported by the accelerator."""
    used = record.facts.get("used")
    return str(used.get("precision") or formatting.NOTHING) if isinstance(used, Mapping) else formatting.NOTHING


def validity(record: BenchRecord) -> Cell:
    """Valid, quick, or the rules it broke."""
    if record.broken_rules:
        return Cell(f"left out: {', '.join(record.broken_rules)}", style="bad")
    return (
        Cell("quick", style="warning")
        if record.quick and record.scenario != "accuracy"
        else Cell("valid", style="good")
    )
