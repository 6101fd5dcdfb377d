"""The raw figures, one CSV file each: full digits, SI units in the column names."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

from toolkit.artifacts.bench import BenchRecord
from toolkit.device.percentiles import MIN_QUERIES, nearest_rank
from toolkit.files import csv_bytes
from toolkit.report.data import paired_tests
from toolkit.report.data.bench_record_values import p90_ms, rate
from toolkit.report.data.load import ReportData
from toolkit.report.data.variants import Variant
from toolkit.report.published.results import PublishedResults
from toolkit.report.tables import model_size, published_comparison
from toolkit.report.tables.model_size import Counted
from toolkit.report.tables.results_tables import computed_in

Row = dict[str, object]


def csv_files(report: ReportData, published: PublishedResults | None, counted: Sequence[Counted]) -> dict[str, bytes]:
    """The content of every CSV file by its name; those with nothing to say are left out."""
    rows: dict[str, Iterable[Row]] = {
        "models.csv": map(_model, report.variants),
        "epochs.csv": _epochs(report),
        "classes.csv": _classes(report),
        "confusion.csv": _confusion(report),
        "heads.csv": _heads(report),
        "parity.csv": (_key(v) | dataclasses.asdict(v.ir.parity) for v in report.variants),
        "records.csv": (_key(v) | _record(record) for v in report.variants for record in v.records),
        "lineage.csv": _lineage(report),
        "layers.csv": model_size.frame(counted),
        **(dict(published_comparison.frames(published)) if published else {}),
    }
    lists = {name: list(own) for name, own in rows.items()}
    return {name: csv_bytes(own) for name, own in lists.items() if own}


def _key(variant: Variant) -> Row:
    model = variant.model
    return {
        "network": model.network,
        "head": model.head,
        "stage": model.stage,
        "precision": variant.ir.precision,
        "target": variant.ir.target,
        "note": model.note,
    }


def _model(variant: Variant) -> Row:
    low, high = variant.interval
    return _key(variant) | {
        "accuracy": variant.accuracy,
        "accuracy_low": low,
        "accuracy_high": high,
        "test_images": variant.ir.parity.images,
        "loss": variant.model.evaluation.loss,
        "top5": variant.model.evaluation.top5,
        "parameters": variant.model.parameters,
        "size_bytes": variant.ir.size_bytes,
        "training_s": variant.model.seconds,
        "p90_ms_slowest_device": variant.slowest_ms,
        "model": variant.model.digest,
        "ir": variant.ir.digest,
    }


def _epochs(report: ReportData) -> Iterator[Row]:
    for model in report.models:
        for epoch in model.history:
            yield {"network": model.network, "head": model.head, "model": model.digest} | dataclasses.asdict(epoch)


def _classes(report: ReportData) -> Iterator[Row]:
    for model in report.models:
        for score in model.evaluation.classes:
            key = {"network": model.network, "head": model.head, "stage": model.stage, "model": model.digest}
            yield key | dataclasses.asdict(score)


def _confusion(report: ReportData) -> Iterator[Row]:
    for model in report.models:
        key = {"network": model.network, "head": model.head, "stage": model.stage, "model": model.digest}
        for true, row in zip(model.labels, model.evaluation.confusion, strict=False):  # none where labels are many
            for predicted, images in zip(model.labels, row, strict=True):
                yield key | {"true": true, "predicted": predicted, "images": images}


def _heads(report: ReportData) -> Iterator[Row]:
    for pair in paired_tests.heads(report):
        yield {
            "network": pair.first.network,
            "stage": pair.first.stage,
            "accuracy_sigmoid": pair.first.evaluation.accuracy,
            "accuracy_softmax": pair.second.evaluation.accuracy,
            "difference": pair.difference,
            "difference_low": pair.interval[0],
            "difference_high": pair.interval[1],
            "only_sigmoid_right": pair.only_first,
            "only_softmax_right": pair.only_second,
            "mcnemar_p": pair.p_value,
        }


def _record(record: BenchRecord) -> Row:
    samples = record.samples_ms
    ordered = sorted(samples) if record.scenario == "single-stream" else ()
    summary: Row = {f"p{n}_ms": nearest_rank(ordered, n) for n in MIN_QUERIES}
    return {
        "record": record.digest,
        "bundle": record.parent,
        "device": record.device,
        "scenario": record.scenario,
        "accelerator": record.accelerator,
        "computed_in": computed_in(record),
        "at": record.at,
        "quick": record.quick,
        "broken_rules": "; ".join(record.broken_rules),
        "samples": len(samples),
        "first_ms": samples[0] if samples else None,
        "least_ms": min(samples, default=None),
        "mean_ms": sum(samples) / len(samples) if samples else None,
        "most_ms": max(samples, default=None),
        **summary,
        "p90_printed_ms": p90_ms(record),
        "samples_per_s": rate(record),
        "wall_s": record.wall_s,
        "accuracy": record.accuracy,
        "correct": record.correct,
        "images": record.images,
        **{name: str(record.facts.get(name) or "") for name in ("machine", "model", "kernel", "openvino", "python")},
        **{name: str(value) for name, value in sorted(record.settings.items()) if isinstance(value, str | int | float)},
    }


def _lineage(report: ReportData) -> Iterator[Row]:
    for variant in report.variants:
        yield _key(variant) | {
            "bundle": variant.bundle.digest if variant.bundle else None,
            "ir": variant.ir.digest,
            "model": variant.model.digest,
            "split": variant.model.parent,
            "run": variant.model.run,
            "weights": variant.model.weights,
            **{f"version_{name}": version for name, version in sorted(variant.model.versions.items())},
        }
