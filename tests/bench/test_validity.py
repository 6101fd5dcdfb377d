from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from toolkit.bench.plan import BenchTarget
from toolkit.bench.validity import RULES, broken_rules, throttled

TARGET = BenchTarget(bundle="b", name="n", release="r", tolerance={"CPU": 1e-3}, images="p", reference_accuracy=0.98)


def record(scenario: str = "single-stream") -> dict[str, Any]:
    samples = {"single-stream": [5.0] * 100, "offline": [10.0 * (n + 1) for n in range(100)], "accuracy": [5.0] * 40}
    return {
        "bundle": "b",
        "samples_ms": samples[scenario],
        "wall_s": 1.0,
        "settings": {
            "scenario": scenario,
            "seconds": 1.0,
            "queries": 64,
            "seed": 0,
            "clock": "total",
            "accelerator": "CPU",
        },
        "facts": {"machine": "aarch64", "kernel": "6.1", "openvino": "2026.4", "python": "3.11", "cores": 4},
        "used": {"accelerator": "CPU", "precision": "f32"},
        "order": {"method": "m", "sha256": "s"},
        "environment": {"before": {"throttled": 0}, "after": {"throttled": 0}},
        "images": {"count": 40, "digest": "p"},
        "logged": [{"query": 0, "image": 3, "output": [0.25, 0.75]}],
        "accuracy": 0.975 if scenario == "accuracy" else None,
    }


def accuracy() -> dict[str, Any]:
    return record("accuracy")


@pytest.mark.parametrize("scenario", ["single-stream", "offline", "accuracy"])
def test_broken_rules_are_none_when_all_is_well(scenario: str) -> None:
    assert broken_rules(record(scenario), TARGET, accuracy()) == ()


def put(*path: str) -> Callable[[dict[str, Any], Any], None]:
    def change(result: dict[str, Any], value: Any) -> None:
        for key in path[:-1]:
            result = result[key]
        result[path[-1]] = value

    return change


CASES = [
    ("facts-missing", put("facts", "kernel"), None),
    ("facts-missing", put("used", "precision"), None),
    ("facts-missing", put("order", "sha256"), None),
    ("other-bundle", put("bundle"), "another"),
    ("other-accelerator", put("used", "accelerator"), "GPU"),
    ("limits-not-reached", put("settings", "seconds"), 1.5),
    ("limits-not-reached", put("settings", "queries"), 101),
    ("samples-impossible", put("samples_ms"), [5.0] * 201),
    ("samples-impossible", put("samples_ms"), [5.0] * 99 + [float("nan")]),
    ("throttled", put("environment", "after", "throttled"), 0x4),
    ("outputs-not-compared", put("logged"), []),
    ("outputs-not-compared", put("images", "digest"), "others"),
    ("outputs-differ", put("logged"), [{"query": 0, "image": 3, "output": [0.252, 0.748]}]),
]


@pytest.mark.parametrize(("rule", "change", "value"), CASES)
def test_broken_rules_name_the_rule_when_it_is_broken(rule: str, change: Callable[..., None], value: Any) -> None:
    result = record()
    change(result, value)
    assert broken_rules(result, TARGET, accuracy()) == (rule,)


def test_broken_rules_name_all_broken_in_table_order() -> None:
    result = record()
    result["bundle"], result["wall_s"], result["environment"]["before"]["throttled"] = "another", 0.6, 1
    assert broken_rules(result, TARGET, None) == (
        "other-bundle",
        "limits-not-reached",
        "throttled",
        "outputs-not-compared",
    )


@pytest.mark.parametrize("scenario", ["single-stream", "offline", "accuracy"])
def test_accuracy_gate_marks_speeds_when_the_model_is_worse(scenario: str) -> None:
    worse = accuracy() | {"accuracy": 0.97}
    result = worse if scenario == "accuracy" else record(scenario)
    assert broken_rules(result, TARGET, worse) == ("accuracy-below-reference",)


def test_accuracy_pass_is_incomplete_when_an_image_is_missing() -> None:
    result = accuracy()
    result["samples_ms"] = result["samples_ms"][1:]
    assert broken_rules(result, TARGET, result) == ("limits-not-reached",)


def test_offline_samples_are_impossible_when_they_do_not_ascend() -> None:
    result = record("offline")
    result["samples_ms"] = [20.0, 10.0, *result["samples_ms"][2:]]
    assert broken_rules(result, TARGET, accuracy()) == ("samples-impossible",)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (None, None, False),
        (0, 0, False),
        (0x50000, 0x50000, False),
        (0x50000, 0x50005, True),
        (0, 0x40000, True),
        (0x10000, 0x50000, True),
        (0x50005, 0x50000, True),
        (None, 0x1, True),
    ],
)
def test_throttled_compares_with_the_start(before: int | None, after: int | None, expected: bool) -> None:
    assert throttled(before, after) is expected


@given(some.integers(0, 0xF), some.integers(0, 0xF))
def test_throttled_since_boot_counts_only_when_new(before: int, after: int) -> None:
    assert throttled(before << 16, after << 16) == bool(after & ~before)


def test_broken_rules_change_nothing() -> None:
    result, other = record(), accuracy()
    copies = copy.deepcopy((result, other))
    broken_rules(result, TARGET, other)
    assert (result, other) == copies


def test_every_rule_has_a_case() -> None:
    assert {rule for rule, _, _ in CASES} | {"accuracy-below-reference"} == set(RULES)
