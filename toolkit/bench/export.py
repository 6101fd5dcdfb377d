"""Bench records for other programs: CSV, JSON, Parquet, and the text that Prometheus reads.

One row per record with its figures, its validity and the facts that decide whether it may be compared; JSON and Parquet
keep the raw samples as well. Prometheus gets the newest record of each device, bundle and scenario.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any

from toolkit import files
from toolkit.analysis.comparability import fact_text, fact_value, reading
from toolkit.artifacts.bench import BenchRecord
from toolkit.bench.summary import Summary, percentiles, summarize
from toolkit.device.bench.spec import BenchSpec
from toolkit.errors import MachineError

Row = dict[str, Any]
FACTS = ("model", "machine", "cores", "os", "kernel", "openvino", "python", "governor", "device_code", "toolkit")
SETTINGS = (*(option.name for option in fields(BenchSpec) if option.name != "scenarios"), "plan")
READINGS = ("temperature_c", "clock_mhz", "throttled", "usb_mbit", "load_1min")


def write(records: Sequence[BenchRecord], names: Mapping[str, str], format_: str, path: Path) -> None:
    """Write `records` to `path`, whole; `format_` is a key of FORMATS, `names` gives a bundle's name.

    Raises:
        MachineError: Parquet was requested and polars is not installed.
    """
    content = FORMATS[format_](records, names)
    with files.atomic_write(path) as stream:
        stream.write(content)


def row(record: BenchRecord, names: Mapping[str, str]) -> Row:
    """Return all fields of a record except its samples; units are in the names."""
    summary = summarize(record)
    return {
        "record": record.digest,
        "bundle": record.parent,
        "name": names.get(record.parent, ""),
        "device": record.device,
        "scenario": record.scenario,
        "accelerator": record.accelerator,
        "computed_in": fact_text(record, "used", "precision"),
        "at": record.at,
        "quick": record.quick,
        "broken_rules": ";".join(record.broken_rules),
        **_figures(summary),
        "wall_s": record.wall_s,
        "correct": record.correct,
        "images": record.images,
        **{f"requested_{name}": record.settings.get(name) for name in SETTINGS},
        **{name: fact_value(record, name) for name in FACTS},
        **{
            f"{name}_{when}": fact_value(record, "environment", when, name)
            for name in READINGS
            for when in ("before", "after")
        },
    }


def _figures(summary: Summary) -> Row:
    printed = dict(summary.percentiles_ms)
    return {
        "queries": summary.queries,
        "mean_ms": summary.mean_ms,
        **{f"p{percent}_ms": printed.get(percent) for percent in (50, 90, 95, 99)},
        **_interval("p90", "_ms", summary.p90_interval_ms),
        "samples_per_s": summary.samples_per_s,
        **_interval("samples", "_per_s", summary.samples_per_s_interval),
        "accuracy": summary.accuracy,
        **_interval("accuracy", "", summary.accuracy_interval),
    }


def _interval(name: str, unit: str, of: tuple[float, float] | None) -> Row:
    low, high = of or (None, None)
    return {f"{name}_low{unit}": low, f"{name}_high{unit}": high}


def _csv(records: Sequence[BenchRecord], names: Mapping[str, str]) -> bytes:
    """Return a row for each record; the header alone without records."""
    return files.csv_bytes([row(record, names) for record in records]) if records else b"record\r\n"


def _whole(records: Sequence[BenchRecord], names: Mapping[str, str]) -> list[Row]:
    return [row(record, names) | {"samples_ms": list(record.samples_ms)} for record in records]


def _json(records: Sequence[BenchRecord], names: Mapping[str, str]) -> bytes:
    return json.dumps(_whole(records, names), ensure_ascii=False, indent=1).encode() + b"\n"


def _parquet(records: Sequence[BenchRecord], names: Mapping[str, str]) -> bytes:
    try:
        import polars as pl
    except ModuleNotFoundError:
        raise MachineError(
            "Parquet needs polars", remedy="install the extra `parquet`, or export csv or json"
        ) from None
    stream = BytesIO()
    pl.DataFrame(_whole(records, names), infer_schema_length=None).write_parquet(stream)
    return stream.getvalue()


@dataclass(frozen=True, slots=True)
class PrometheusMetric:
    """A family of Prometheus samples: base units, as its naming rules ask for."""

    name: str
    kind: str
    help: str
    samples: Callable[[BenchRecord], Iterator[tuple[str, Mapping[str, str], float]]]
    """Return a sample of a record: name suffix, additional labels, value."""


def _latencies(record: BenchRecord) -> Iterator[tuple[str, Mapping[str, str], float]]:
    if record.scenario == "single-stream" and not record.broken_rules:
        for percent, value in percentiles(record.samples_ms):
            yield "", {"quantile": str(percent / 100)}, value / 1000
        yield "_sum", {}, math.fsum(record.samples_ms) / 1000
        yield "_count", {}, len(record.samples_ms)


def _single(value: Callable[[BenchRecord], float | None]) -> Callable[[BenchRecord], Iterator[Any]]:
    """A family with one sample per record, or none."""

    def samples(record: BenchRecord) -> Iterator[tuple[str, Mapping[str, str], float]]:
        if (number := value(record)) is not None:
            yield "", {}, number

    return samples


def _of_valid(name: str) -> Callable[[BenchRecord], float | None]:
    """Return one figure of the summary of a valid record."""
    return lambda record: None if record.broken_rules else getattr(summarize(record), name)


METRICS = (
    PrometheusMetric("latency_seconds", "summary", "Time to answer one image, one after the other.", _latencies),
    PrometheusMetric(
        "throughput_per_second", "gauge", "Images per second, offline.", _single(_of_valid("samples_per_s"))
    ),
    PrometheusMetric(
        "accuracy_ratio", "gauge", "Share of the test images classified correctly.", _single(_of_valid("accuracy"))
    ),
    PrometheusMetric(
        "valid", "gauge", "1 if the run broke no rule.", _single(lambda record: float(not record.broken_rules))
    ),
    PrometheusMetric(
        "throttled", "gauge", "1 if the firmware throttled it.", _single(lambda r: float("throttled" in r.broken_rules))
    ),
    PrometheusMetric(
        "temperature_celsius", "gauge", "At the end of the run.", _single(lambda r: reading(r, "temperature_c"))
    ),
    PrometheusMetric(
        "time_seconds", "gauge", "When it was measured.", _single(lambda r: datetime.fromisoformat(r.at).timestamp())
    ),
)


def _prometheus(records: Sequence[BenchRecord], names: Mapping[str, str]) -> bytes:
    """The text format, version 0.0.4."""
    newest = {_labels(record, names): record for record in sorted(records, key=lambda record: record.at)}
    lines: list[str] = []
    for metric in METRICS:
        lines += [
            f"# HELP toolkit_bench_{metric.name} {metric.help}",
            f"# TYPE toolkit_bench_{metric.name} {metric.kind}",
        ]
        for labels, record in sorted(newest.items()):
            for suffix, more, value in metric.samples(record):
                lines.append(f"toolkit_bench_{metric.name}{suffix}{_written((*labels, *more.items()))} {value!r}")
    return ("\n".join(lines) + "\n").encode()


def _labels(record: BenchRecord, names: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return (
        ("device", record.device),
        ("model", names.get(record.parent, record.parent[:12])),
        ("scenario", record.scenario),
        ("accelerator", record.accelerator),
        ("quick", str(record.quick).lower()),
    )


def _written(labels: Sequence[tuple[str, str]]) -> str:
    escaped = ((name, value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")) for name, value in labels)
    return "{" + ",".join(f'{name}="{value}"' for name, value in escaped) + "}"


FORMATS: Mapping[str, Callable[[Sequence[BenchRecord], Mapping[str, str]], bytes]] = {
    "csv": _csv,
    "json": _json,
    "parquet": _parquet,
    "prom": _prometheus,
}
