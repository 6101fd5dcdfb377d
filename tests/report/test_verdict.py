from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from toolkit.artifacts import BenchRecord, IrModel, Split, TrainedModel, Workspace
from toolkit.experiment import Experiment
from toolkit.report import compare
from toolkit.report.gather import Gathered, gather
from toolkit.report.verdict import GATE, judge
from toolkit.store import Store


@pytest.fixture
def look(workspace: Workspace, store: Store, experiment: Experiment) -> Callable[[], Gathered]:
    return lambda: gather(workspace, store, experiment)


def state(gathered: Gathered, title: str) -> str:
    return next(check.state for check in judge(gathered).checks if check.title == title)


def test_judge_takes_the_fastest_of_the_accurate(look: Callable[[], Gathered]) -> None:
    gathered = look()
    choice = judge(gathered).choice
    assert choice is not None
    best = max(variant.accuracy for variant in gathered.variants)
    rivals = [v.slowest_ms for v in gathered.variants if v.accuracy >= GATE * best and v.slowest_ms]
    assert choice.accuracy >= GATE * best
    assert choice.slowest_ms == min(rivals)


def test_judge_says_what_keeps_one_from_trusting_it(look: Callable[[], Gathered]) -> None:
    verdict = judge(look())
    said = {check.title: check.text for check in verdict.checks}
    assert "Synthetic masks" in said["Data"]
    assert "Quick runs" in said["Speed"]
    assert "1 run broke a rule and is left out" in said["Speed"]
    assert "x86_64, not on Raspberry Pis" in said["Devices"]
    assert "majority class" in said["Training"]


def test_judge_ships_nothing_when_every_conversion_failed(store: Store, look: Callable[[], Gathered]) -> None:
    for ir in store.all(IrModel):
        store.put(dataclasses.replace(ir, parity=dataclasses.replace(ir.parity, passed=False)))
    verdict = judge(look())
    assert verdict.choice is None
    assert verdict.headline == "Nothing can be shipped yet"


def test_judge_trusts_devices_when_they_are_raspberry_pis(store: Store, look: Callable[[], Gathered]) -> None:
    for record in store.all(BenchRecord):
        facts = {**record.facts, "model": "Raspberry Pi 4 Model B Rev 1.4", "machine": "aarch64"}
        store.put(dataclasses.replace(record, facts=facts))
    assert state(look(), "Devices") == "good"


def test_judge_trusts_data_when_the_split_carries_no_note(store: Store, look: Callable[[], Gathered]) -> None:
    store.put(dataclasses.replace(store.all(Split)[0], note=""))
    assert state(look(), "Data") == "good"


def test_judge_distrusts_the_devices_answers_when_they_are_below_the_gate(
    store: Store, look: Callable[[], Gathered]
) -> None:
    for record in store.all(BenchRecord):
        if record.scenario == "accuracy":
            store.put(dataclasses.replace(record, accuracy=0.9))
    assert state(look(), "Same on the device") == "bad"


def test_pair_counts_the_pictures_that_one_alone_got_right(store: Store) -> None:
    first, second = store.all(TrainedModel)[:2]
    judged = {
        name: dataclasses.replace(model.evaluation, predictions=predictions)
        for name, model, predictions in (("a", first, (0, 1, 0, 0)), ("b", second, (0, 0, 1, 1)))
    }
    one = dataclasses.replace(first, evaluation=judged["a"])
    other = dataclasses.replace(second, evaluation=judged["b"])
    found = compare.pair(one, other, (0, 1, 1, 1))
    assert found is not None
    assert (found.only_first, found.only_second, found.difference) == (1, 2, 0.25)
    assert found.p_value == 1.0
    assert compare.pair(one, other, ()) is None


def test_heads_compares_sigmoid_and_softmax_per_network_and_stage(look: Callable[[], Gathered]) -> None:
    pairs = list(compare.heads(look()))
    assert [(p.first.head, p.second.head) for p in pairs] == [("sigmoid", "softmax")] * 4
    for pair in pairs:
        gap = pair.second.evaluation.accuracy - pair.first.evaluation.accuracy
        assert pair.difference == pytest.approx(gap)
        assert pair.interval[0] <= pair.difference <= pair.interval[1]
