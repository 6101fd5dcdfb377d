from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from toolkit.analysis import detect_regressions
from toolkit.analysis.comparability import BATCHES, batch_means_ms

NAMES = {"b" * 64: "tiny-softmax-top-fp32", "c" * 64: "tiny-softmax-top-fp32"}


@pytest.mark.parametrize("scenario", ["single-stream", "offline"])
@pytest.mark.parametrize(("ms", "change"), [(10.0, "same"), (10.3, "same"), (12.0, "slower"), (8.0, "faster")])
def test_against_past_tells_what_is_large_and_certain(make: Any, scenario: str, ms: float, change: str) -> None:
    (regression,) = detect_regressions([make(day=1, scenario=scenario), make(day=2, ms=ms, scenario=scenario)], NAMES)
    assert regression.change == change
    assert regression.shift == pytest.approx(ms / 10 - 1, abs=0.02)
    assert regression.before_ms == pytest.approx(10, rel=0.06)


def test_regressions_are_same_when_earlier_runs_differed_as_much(make: Any) -> None:
    past = [make(day=day, ms=ms) for day, ms in enumerate((8.0, 10.0, 12.0, 9.0), start=1)]
    (regression,) = detect_regressions([*past, make(day=9, ms=11.5)], NAMES)
    assert (regression.change, regression.within_spread, regression.p_value < 0.01) == ("same", True, True)
    steady = [make(day=day) for day in range(1, 5)]
    assert detect_regressions([*steady, make(day=9, ms=11.5)], NAMES)[0].change == "slower"


def test_against_past_looks_back_so_far_and_no_further(make: Any) -> None:
    old = [make(day=day, ms=50) for day in (1, 2)]
    (regression,) = detect_regressions([*old, *(make(day=day) for day in range(3, 9))], NAMES)
    assert (len(regression.earlier), regression.change) == (5, "same")


def test_against_past_compares_only_what_may_be_compared(make: Any) -> None:
    first = make(day=1)
    others = [
        make(day=2, ms=20, quick=False),
        make(day=2, ms=20, accelerator="MYRIAD"),
        make(day=2, ms=20, device="pi-2"),
        make(day=2, ms=20, settings={"clock": "inference"}),
        make(day=2, ms=20, facts={"used": {"precision": "bf16"}}),
        make(day=2, ms=20, facts={"image_set": "q" * 64}),
        make(day=2, ms=20, broken_rules=("throttled",)),
        make(day=2, ms=20, parent="f" * 64),
        make(day=2, ms=20, queries=20),
        make(day=2, scenario="accuracy"),
    ]
    assert [detect_regressions([first, other], NAMES) for other in others] == [()] * len(others)


def test_against_past_names_what_else_changed(make: Any) -> None:
    facts = {"openvino": "2025.2.0-19140", "governor": "powersave"}
    then = make(day=1, facts=facts)
    (regression,) = detect_regressions([then, make(day=2, parent="c" * 64)], NAMES)
    assert regression.changed == (
        f"bundle {'b' * 12} → {'c' * 12}",
        "OpenVINO 2025.2.0 → 2026.4.1",
        "governor powersave → ondemand",
    )


def test_regressions_are_rarely_false_when_devices_are_many(make: Any) -> None:
    records = [make(device=f"pi-{n}", day=day) for n in range(100) for day in (1, 2)]
    regressions = detect_regressions(records, NAMES)
    assert (len(regressions), {each.change for each in regressions}) == (100, {"same"})
    one = dataclasses.replace(make(device="pi-7", day=3, ms=11.5))
    assert [each.device for each in detect_regressions([*records, one], NAMES) if each.change == "slower"] == ["pi-7"]


def test_change_follows_from_its_neighbors_and_names_the_cores(make: Any) -> None:
    before, now = make(day=1, ms=1.59, facts={"cores": 2}), make(day=2, ms=3.98, facts={"cores": 1})
    (comparison,) = detect_regressions([before, now], NAMES)
    assert comparison.shift == comparison.now_ms / comparison.before_ms - 1
    assert "2 → 1 cores" in comparison.changed


@pytest.mark.parametrize("scenario", ["single-stream", "offline"])
def test_batch_means_average_to_the_mean_of_the_samples(make: Any, scenario: str) -> None:
    record = make(scenario=scenario, ms=10)
    means = batch_means_ms(record)
    assert len(means) == BATCHES
    assert sum(means) / BATCHES == pytest.approx(10, rel=0.1)
