from __future__ import annotations

import csv
import io
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from toolkit.artifacts.bench import BenchRecord
from toolkit.bench.export import FORMATS, write

BUNDLE = "b" * 64
NAMES = {BUNDLE: 'odd "name"\\'}
SAMPLE = re.compile(r'^toolkit_bench_(\w+)\{((?:\w+="(?:[^"\\\n]|\\["\\n])*",?)+)\} (\S+)$')


def record(at: int = 1, **more: Any) -> BenchRecord:
    values: dict[str, Any] = {
        "digest": f"{at:064x}",
        "parent": BUNDLE,
        "device": "pi-1",
        "scenario": "single-stream",
        "accelerator": "CPU",
        "samples_ms": tuple(10 + n / 100 for n in range(100)),
        "wall_s": 1.1,
        "quick": True,
        "broken_rules": (),
        "accuracy": None,
        "correct": None,
        "images": 12,
        "facts": {"model": "Pi", "environment": {"after": {"temperature_c": 61.5}}, "used": {"precision": "f32"}},
        "settings": {"clock": "total", "queries": 64},
        "at": f"2026-11-0{at}T10:00:00+00:00",
    }
    return BenchRecord(**(values | more))


RECORDS = (
    record(1),
    record(2, broken_rules=("throttled",)),
    record(3, scenario="offline", samples_ms=tuple(float(n) for n in range(1, 101)), wall_s=0.1),
    record(4, scenario="accuracy", samples_ms=(), accuracy=0.75, correct=9),
)


def test_csv_has_a_row_per_record_with_its_own_figures() -> None:
    rows = list(csv.DictReader(io.StringIO(FORMATS["csv"](RECORDS, NAMES).decode())))
    assert [row["scenario"] for row in rows] == ["single-stream", "single-stream", "offline", "accuracy"]
    first, broken, offline, accuracy = rows
    assert (first["queries"], first["requested_queries"], first["p90_ms"], first["p99_ms"]) == (
        "100",
        "64",
        "10.89",
        "",
    )
    assert (first["name"], first["computed_in"], first["temperature_c_after"]) == (NAMES[BUNDLE], "f32", "61.5")
    assert broken["broken_rules"] == "throttled"
    assert float(offline["samples_per_s"]) == pytest.approx(1000)
    assert (accuracy["accuracy"], accuracy["correct"]) == ("0.75", "9")


def test_csv_and_prometheus_are_there_when_there_are_no_records() -> None:
    assert FORMATS["csv"]((), {}) == b"record\r\n"
    assert FORMATS["json"]((), {}) == b"[]\n"
    assert b"# TYPE toolkit_bench_valid gauge" in FORMATS["prom"]((), {})


def test_json_and_parquet_keep_every_sample(tmp_path: Path) -> None:
    import polars as pl

    for form in ("json", "parquet"):
        write(RECORDS, NAMES, form, tmp_path / form)
    rows = json.loads((tmp_path / "json").read_bytes())
    frame = pl.read_parquet(tmp_path / "parquet")
    assert [tuple(row["samples_ms"]) for row in rows] == [each.samples_ms for each in RECORDS]
    assert [tuple(samples) for samples in frame["samples_ms"]] == [each.samples_ms for each in RECORDS]
    assert frame["record"].to_list() == [each.digest for each in RECORDS]


def prometheus(records: tuple[BenchRecord, ...]) -> dict[tuple[str, str], float]:
    """Every sample by its name and labels, each line checked against the grammar of the text format."""
    result: dict[tuple[str, str], float] = {}
    for line in FORMATS["prom"](records, NAMES).decode().splitlines():
        if not line.startswith("# "):
            match = SAMPLE.match(line)
            assert match, line
            assert (match[1], match[2]) not in result
            result[match[1], match[2]] = float(match[3])
    return result


def test_prometheus_gives_base_units_and_the_newest_record() -> None:
    result = prometheus((record(1), record(2, samples_ms=tuple([20.0] * 64))))
    labels = 'device="pi-1",model="odd \\"name\\"\\\\",scenario="single-stream",accelerator="CPU",quick="true"'
    assert result["latency_seconds", f'{labels},quantile="0.9"'] == pytest.approx(0.02)
    assert result["latency_seconds_count", labels] == 64
    assert result["temperature_celsius", labels] == 61.5
    assert result["time_seconds", labels] == datetime(2026, 11, 2, 10, tzinfo=UTC).timestamp()


def test_prometheus_gives_no_figure_when_a_rule_is_broken() -> None:
    result = prometheus((record(1), record(2, broken_rules=("throttled",))))
    names = {name: value for (name, _), value in result.items()}
    assert (names["valid"], names["throttled"]) == (0, 1)
    assert "latency_seconds" not in names
