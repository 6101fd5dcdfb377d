from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.artifacts.bench import BenchRecord
from toolkit.artifacts.fleet import Device
from toolkit.deploy.gates.speed_gate import SpeedBaseline, choose_baseline, compare, load_baselines
from toolkit.errors import FleetError
from toolkit.store import Store
from toolkit.workspace import Workspace

DEVICE = Device(name="pi-1", host="pi-1")
OWN = SpeedBaseline(
    device="pi-1",
    bundle="own",
    name="net",
    p90_ms=10.0,
    quick=False,
    at="2026-11-22T06:00:00+00:00",
    images="p",
    settings={"accelerator": "CPU"},
)


def test_choose_baseline_prefers_own_then_name_then_replaced() -> None:
    alike, replaced, other = (
        replace(OWN, bundle="old"),
        replace(OWN, bundle="served", name="x"),
        replace(OWN, name="y"),
    )
    known = [OWN, alike, replaced, replace(other, bundle="else")]
    assert choose_baseline(known, "own", "net", "served") == OWN
    assert choose_baseline(known, "new", "net", "served") == alike
    assert choose_baseline(known, "new", "nobody", "served") == replaced
    assert choose_baseline(known, "new", "nobody", None) is None


def test_choose_takes_the_newest_full_record_before_a_quick_one() -> None:
    quick, newer = replace(OWN, quick=True, p90_ms=1.0), replace(OWN, p90_ms=2.0)
    assert choose_baseline([OWN, newer, quick], "own", "net", None) == newer
    assert choose_baseline([quick], "own", "net", None) == quick


@given(st.floats(0.01, 1e4), st.floats(0.01, 1e4), st.floats(0.05, 1))
def test_judge_refuses_exactly_what_is_slower_than_the_share(before: float, now: float, share: float) -> None:
    like = replace(OWN, p90_ms=before)
    if before < share * now:
        with pytest.raises(FleetError, match=r"pi-1: slower than its gate: p90 .* ms"):
            compare(DEVICE, now, like, share)
    else:
        assert "of the speed in net's record of 2026-11-22" in compare(DEVICE, now, like, share)


def test_baselines_are_made_of_what_counts(workspace: Workspace) -> None:
    record = BenchRecord(
        digest="1",
        parent="own",
        device="pi-1",
        scenario="single-stream",
        accelerator="CPU",
        samples_ms=tuple(float(number) for number in range(1, 101)),
        wall_s=60,
        quick=False,
        broken_rules=(),
        accuracy=None,
        correct=None,
        images=4,
        facts={"name": "net", "image_set": "p"},
        settings={"accelerator": "CPU"},
        at=OWN.at,
    )
    with Store(workspace.database) as store:
        for number, each in enumerate(
            (
                record,
                replace(record, broken_rules=("throttled",)),
                replace(record, scenario="offline"),
                replace(record, samples_ms=(1.0,)),
            )
        ):
            store.put(replace(each, digest=str(number)))
        assert load_baselines(store) == (replace(OWN, p90_ms=90.0),)
