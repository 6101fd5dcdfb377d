"""One round of the loop: how many labels matter, and when it waits for them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from toolkit.artifacts.dataset import Split
from toolkit.artifacts.fleet import Device
from toolkit.artifacts.labeling import CLASS, UNKNOWN
from toolkit.artifacts.model import Epoch, Evaluation, SampleEfficiency, SamplePoint, TrainedModel
from toolkit.cli import loop as loop_verb
from toolkit.experiment.schema import DeployConfig, Experiment
from toolkit.loop.decisions import Choice, record
from toolkit.loop.next_round import FEWEST, GAIN, MOST, labels_needed, next_round
from toolkit.loop.versions import prepare_version
from toolkit.progress import Silent
from toolkit.store import Store
from toolkit.workspace import Workspace

from ..invoke import run
from .conftest import Capturing


def model(
    split: Split, curve: SampleEfficiency | None = None, labels: tuple[str, ...] = ("blue", "red")
) -> TrainedModel:
    evaluation = Evaluation(
        subset="test",
        images=1000,
        loss=0.1,
        accuracy=0.9,
        interval=(0.8, 1),
        top5=None,
        classes=(),
        confusion=(),
        predictions=(0, 0, 1, 1),
    )
    epoch = Epoch(stage="top", number=1, loss=0, accuracy=1, val_loss=0, val_accuracy=1, seconds=0, learning_rate=0)
    return TrainedModel(
        digest="m",
        parent=split.digest,
        run="r",
        experiment="colors",
        network="n",
        head="softmax",
        stage="top",
        weights="imagenet",
        note="",
        labels=labels,
        input_size=(32, 32),
        crop="resize",
        scaling="",
        path="m.keras",
        parameters=1,
        history=(epoch,),
        evaluation=evaluation,
        seconds=1,
        sample_efficiency=curve,
    )


def curve(error: Callable[[int], float]) -> SampleEfficiency:
    points = (SamplePoint(per_class=n, accuracy=1 - error(n), interval=(0, 1)) for n in (2, 10, 50))
    return SampleEfficiency(points=tuple(points), more=10, gain=0)


SPLIT = Split(digest="s", name="colors", labels=("blue", "red"), counts={}, path="s.jsonl")


def test_labels_needed_follow_the_learning_curve() -> None:
    def error(n: float) -> float:
        return 0.5 * n**-0.5

    needed, reason = labels_needed(model(SPLIT, curve(error), labels=tuple("abcdefghij")))
    assert "learning curve" in reason
    assert FEWEST <= needed <= MOST
    assert error(50) - error(50 + needed / 10) == pytest.approx(GAIN, rel=0.05)
    assert error(50) - error(50 + (needed - 1) / 10) < GAIN
    assert labels_needed(model(SPLIT, curve(lambda n: 0.9 * n**-0.5)))[0] == FEWEST
    assert labels_needed(model(SPLIT, curve(lambda n: 0.3 * n**-0.001)))[0] == MOST
    assert labels_needed(model(SPLIT, curve(lambda _: 0.3)))[0] == MOST
    assert labels_needed(model(SPLIT, curve(lambda _: 0.0)))[0] == MOST
    assert labels_needed(model(SPLIT))[0] == FEWEST


def test_round_waits_until_labels_are_enough(
    plan: Experiment, workspace: Workspace, store: Store, capture: Capturing, monkeypatch: pytest.MonkeyPatch
) -> None:
    version, split = prepare_version(plan, workspace, store, Silent())
    store.put(model(split))
    captures = [capture("red", seed) for seed in range(5)]
    record(store, [Choice(one.digest, CLASS, "red") for one in captures[:2]], who="ann")
    record(store, [Choice(captures[2].digest, UNKNOWN), Choice(captures[3].digest, CLASS, "green")], who="ann")
    waiting = next_round(plan, workspace, store, Silent())
    assert (waiting.labels, waiting.needed, waiting.waits) == (2, FEWEST, True)
    trained = list[Experiment]()
    monkeypatch.setattr("toolkit.loop.next_round.retrain", lambda own, *_: trained.append(own))
    assert next_round(plan, workspace, store, Silent(), least=3).waits
    assert trained == []
    next_round(plan, workspace, store, Silent(), least=2)
    assert trained == [plan]
    later, split = prepare_version(plan, workspace, store, Silent())
    assert later.parent == version.digest
    store.put(model(split))  # it has learned from both
    assert next_round(plan, workspace, store, Silent()).labels == 0


@pytest.mark.slow
def test_loop_verb_collects_and_says_what_is_next(
    plan: Experiment,
    workspace: Workspace,
    store: Store,
    devices: tuple[Device, ...],
    write_inventory: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    store.put(model(prepare_version(plan, workspace, store, Silent())[1]))
    options = ("--fleet", "--inventory", write_inventory(devices), "--workspace", workspace.root)
    assert run("loop", plan.origin, *options) == 0
    output = capsys.readouterr().out
    assert f"captures: 0 new; labels: 0 new, {FEWEST} needed" in output
    assert f"next: toolkit label {plan.origin}" in output
    assert run("loop", plan.origin, *options, "--json") == 0
    assert json.loads(capsys.readouterr().out)["round"]["retraining"] is None
    assert run("loop", plan.origin, "--workspace", workspace.root) == 2


def test_loop_takes_shadow_and_soak_from_the_experiment(
    plan: Experiment, workspace: Workspace, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setattr("toolkit.deploy.deploy", lambda *_, **options: asked.update(options))
    monkeypatch.setattr("toolkit.bundle.resolve.bundle_folder", lambda *_: workspace.root)
    options: Any = SimpleNamespace(workspace=workspace, forks=3, progress=Silent())
    for table, names, seconds in (
        (DeployConfig(), ["verify", "golden", "healthy"], None),
        (DeployConfig(shadow_s=60, soak_s=90), ["verify", "golden", "shadow", "healthy"], 90),
    ):
        loop_verb._deploy(plan.model_copy(update={"deploy": table}), "b" * 64, (), options, store)
        assert [gate.name for gate in asked["gates"]] == names
        assert getattr(asked["soak"], "seconds", None) == seconds
