from __future__ import annotations

import pytest

from toolkit.device.app.pipeline import throughput
from toolkit.device.app.pipeline.throughput import ThroughputMeter


def test_summary_restarts_after_a_while_and_when_model_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1_000_000_000]
    monkeypatch.setattr(throughput, "now_ns", lambda: clock[0])
    meter = ThroughputMeter()
    for _ in range(60):
        clock[0] += 10_000_000
        meter.add(7.0)
    first = meter.summary()
    assert first == {"fps": 100.0, "latency_ms": {"p50": 7.0, "p90": None, "p95": None, "p99": None}}
    meter.add(7.0)
    clock[0] += 200_000_000
    assert meter.summary() is first
    clock[0] += 100_000_000
    assert meter.summary()["fps"] == pytest.approx(61 / 0.9, abs=0.01)
    meter.restart()
    assert meter.summary()["latency_ms"]["p50"] is None
