"""Records as a bench would have made them, from a steady source of latencies."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import accumulate
from typing import Any

import pytest

from toolkit import hashing
from toolkit.artifacts.bench import BenchRecord

NAMES = {"b" * 64: "tiny-softmax-top-fp32", "c" * 64: "tiny-softmax-top-fp32"}
Make = Callable[..., BenchRecord]


@pytest.fixture
def make() -> Make:
    return record


def record(
    device: str = "pi-1",
    day: int = 1,
    ms: float = 10.0,
    *,
    queries: int = 240,
    scenario: str = "single-stream",
    **more: Any,
) -> BenchRecord:
    """Latencies around `ms`, 4 % off either way, and one in fifty three times as long."""
    chooser = random.Random(f"{device} {day} {scenario}")
    each = [ms * chooser.gauss(1, 0.04) * (3 if chooser.random() < 0.02 else 1) for _ in range(queries)]
    facts = {
        "model": "Raspberry Pi 4 Model B Rev 1.4",
        "machine": "aarch64",
        "cores": 4,
        "openvino": "2026.4.1-1",
        "kernel": "6.1.0",
        "governor": "ondemand",
        "used": {"precision": "f32"},
        "image_set": "p" * 64,
        "environment": {"before": {}, "after": {}},
    }
    reading = more.pop("after", {})
    facts |= {"environment": {"before": {}, "after": reading}} | more.pop("facts", {})
    values: dict[str, Any] = {
        "digest": hashing.sha256_json([device, day, scenario, ms]),
        "parent": "b" * 64,
        "device": device,
        "scenario": scenario,
        "accelerator": "CPU",
        "samples_ms": tuple(accumulate(each)) if scenario == "offline" else tuple(each),
        "wall_s": sum(each) / 1000,
        "quick": True,
        "broken_rules": (),
        "accuracy": None,
        "correct": None,
        "images": 12,
        "facts": facts,
        "settings": {"clock": "total", "threads": None, "streams": None, "seed": 0},
        "at": f"2026-11-{day:02}T10:00:00+00:00",
    }
    return BenchRecord(**(values | more))
