from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as some

from toolkit.artifacts.fleet import Device
from toolkit.bench.plan import BenchTarget, is_quick, make_plan
from toolkit.device.bench.spec import BenchSpec

SPEC = BenchSpec(seconds=2, queries=64)


def target(name: str = "one", **tolerance: float) -> BenchTarget:
    return BenchTarget(
        bundle=name,
        name=name,
        release=f"release of {name}",
        tolerance=tolerance or {"CPU": 1e-3},
        images="images",
        reference_accuracy=None,
    )


def device(name: str, accelerator: str = "CPU") -> Device:
    return Device(name=name, host=name, accelerator=accelerator)


def test_make_plan_starts_each_bundle_with_its_accuracy_pass() -> None:
    plan = make_plan([target("one"), target("two")], [device("a"), device("b")], SPEC)
    steps = [(step.target.name, step.scenario) for step in plan.of(device("a"))]
    scenarios = ["accuracy", "single-stream", "offline"]
    assert steps == [(name, scenario) for name in ("one", "two") for scenario in scenarios]
    assert len(plan.steps) == 12


def test_make_plan_has_one_accuracy_pass_when_also_requested() -> None:
    spec = dataclasses.replace(SPEC, scenarios=("single-stream", "accuracy"))
    plan = make_plan([target()], [device("a")], spec)
    assert [step.scenario for step in plan.steps] == ["accuracy", "single-stream"]


def test_make_plan_leaves_out_what_a_bundle_is_not_made_for() -> None:
    stick = device("stick", "MYRIAD.1.2-ma2480")
    plan = make_plan([target("cpu"), target("both", CPU=1e-3, MYRIAD=5e-2)], [stick], SPEC)
    assert {step.target.name for step in plan.steps} == {"both"}
    assert plan.incompatible == ("stick: cpu does not support MYRIAD.1.2-ma2480",)


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"seconds": 60.0}, {"precision": "f32"}, {"scenarios": ("offline",)}, {"threads": 1}]
)
def test_identity_changes_when_anything_that_matters_does(change: dict[str, object]) -> None:
    targets, devices = [target()], [device("a")]
    plan = make_plan(targets, devices, SPEC)
    assert make_plan(targets, devices, SPEC).identity == plan.identity
    assert make_plan(targets, devices, dataclasses.replace(SPEC, **change)).identity != plan.identity
    newer = dataclasses.replace(target(), release="with newer device code")
    assert make_plan([newer], devices, SPEC).identity != plan.identity


@given(some.floats(0, 1e4), some.integers(0, 10**6))
def test_is_quick_follows_rule_2(wall_s: float, queries: int) -> None:
    assert is_quick("single-stream", wall_s, queries) == (wall_s < 60 or queries < 1024)
    assert is_quick("offline", wall_s, queries) == (wall_s < 60)
    assert not is_quick("accuracy", wall_s, queries)


def test_steps_keep_identity_when_others_join_or_leave() -> None:
    alone = make_plan([target()], [device("a")], SPEC)
    more = make_plan([target("two"), target()], [device("b"), device("a")], SPEC)
    identities = {step.identity for step in alone.steps}
    assert len(identities) == 3
    assert identities < {step.identity for step in more.steps}
    fewer = dataclasses.replace(SPEC, scenarios=("offline",))
    assert {step.identity for step in make_plan([target()], [device("a")], fewer).steps} < identities
