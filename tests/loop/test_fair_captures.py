"""Which labeled captures may judge a candidate: random ones of the serving release that it has not learned from."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from toolkit.artifacts.labeling import CLASS, UNKNOWN
from toolkit.cli.shadow_options import find_labeled
from toolkit.deploy.gates.shadow_gate import ShadowOptions
from toolkit.errors import ConfigurationError
from toolkit.experiment.schema import Experiment
from toolkit.loop import fair_captures
from toolkit.loop.decisions import Choice, record
from toolkit.loop.fair_captures import FairCaptures
from toolkit.loop.versions import prepare_version
from toolkit.progress import Silent
from toolkit.store import Store
from toolkit.workspace import Workspace

from .conftest import Capturing


def test_only_fair_captures_count(
    plan: Experiment, workspace: Workspace, store: Store, capture: Capturing, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(store, [Choice(capture("red", 100, hour=9).digest, CLASS, "red")], who="ann")
    version, split = prepare_version(plan, workspace, store, Silent())
    assert set(version.captures.values()) <= {"train", "validation"}
    monkeypatch.setattr(fair_captures, "model_of", lambda bundle, _: SimpleNamespace(parent=split.digest))
    fair = [capture(color, seed, hour=10, policy="random") for color, seed in (("red", 101), ("blue", 102))]
    with_learned = capture("red", 103, hour=9, policy="random")
    unsure = capture("red", 104, hour=10)
    unknown = capture("red", 105, hour=10, policy="random")
    capture("red", 106, hour=10, policy="random")
    labeled = FairCaptures(workspace, store)
    assert labeled("b" * 64, "c" * 64) == ()
    record(store, [Choice(one.digest, CLASS, "red") for one in (*fair, with_learned, unsure)], who="ann")
    record(store, [Choice(unknown.digest, UNKNOWN)], who="ann")
    result = labeled("b" * 64, "c" * 64)
    assert [one.digest for one in result] == [one.digest for one in fair], "in the order of their time"
    assert {(one.truth, one.serving, one.image.is_file()) for one in result} == {("red", "red", True)}
    assert labeled("b" * 64, "d" * 64) == (), "another release answered them"


def test_a_candidate_of_unknown_training_is_refused(workspace: Workspace, store: Store) -> None:
    with pytest.raises(ConfigurationError, match="what the candidate has learned from"):
        FairCaptures(workspace, store)("b" * 64, "c" * 64)


def test_labels_are_looked_up_only_if_accuracy_is_judged(workspace: Workspace, store: Store) -> None:
    judged = ShadowOptions(seconds=1, accuracy=0.8)
    assert isinstance(find_labeled(judged, workspace, store), FairCaptures)
    for shadow in (None, ShadowOptions(seconds=1)):
        assert find_labeled(shadow, workspace, store)("b" * 64, "c" * 64) == ()
