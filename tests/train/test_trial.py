from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from toolkit.artifacts.model import TrainedModel
from toolkit.data.loading import BUDGET
from toolkit.errors import ConfigurationError, DataError
from toolkit.progress import Silent
from toolkit.store import Store
from toolkit.train import load_keras
from toolkit.workspace import Workspace

if TYPE_CHECKING:
    from conftest import Bench

pytestmark = pytest.mark.slow


def test_train_trial_gives_one_model_per_stage_when_complete(bench: Bench, workspace: Workspace) -> None:
    top, tuned = bench.train(workspace)
    assert (top.stage, tuned.stage) == ("top", "fine-tune")
    assert top.run == tuned.run
    assert top.digest != tuned.digest
    assert [epoch.number for epoch in tuned.history] == [1, 2, 3]
    assert tuned.evaluation.images == 6
    assert load_keras(tuned, workspace).output_shape == (None, 2)
    with Store(workspace.database) as store:
        assert store.get(TrainedModel, tuned.digest) == tuned
    folder = workspace.absolute(tuned.path).parent
    assert folder.parent.parent.name == f"tiny-{tuned.run[:12]}"
    assert {file.name for file in folder.iterdir()} == {
        "model.keras", "history.json", "evaluation.json", "trained.json",
    }  # fmt: skip
    assert json.loads((folder / "evaluation.json").read_bytes())["accuracy"] == tuned.evaluation.accuracy


def test_train_trial_does_nothing_and_says_so_when_it_runs_again(bench: Bench, workspace: Workspace) -> None:
    first = bench.train(workspace)
    files = {path: path.stat().st_mtime_ns for path in workspace.folder("runs").rglob("*") if path.is_file()}
    progress = Silent()
    assert bench.train(workspace, progress) == first
    assert [line for line in progress.messages if "skipped" in line] == progress.messages
    assert files == {path: path.stat().st_mtime_ns for path in workspace.folder("runs").rglob("*") if path.is_file()}


def test_train_trial_gives_the_same_weights_when_seeded_alike(bench: Bench, workspace: Workspace) -> None:
    other = Workspace(workspace.root / "other")
    digests = [[model.digest for model in bench.train(place)] for place in (workspace, other)]
    assert digests[0] == digests[1]
    bench.change("batch_size = 4", "batch_size = 4\nseed = 1")
    assert [model.digest for model in bench.train(other)] != digests[0]


def test_trial_has_the_same_weights_without_cached_images(
    bench: Bench, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = [model.digest for model in bench.train(workspace)]
    monkeypatch.setenv(BUDGET, "0")
    other = Workspace(workspace.root / "other")
    assert [model.digest for model in bench.train(other)] == cached
    assert list(workspace.folder("cache", "images").glob("*.npy"))
    assert not list(other.folder("cache", "images").glob("*.npy"))


def test_train_trial_stops_after_the_stage_when_told(bench: Bench, workspace: Workspace) -> None:
    assert [model.stage for model in bench.train(workspace, last="top")] == ["top"]
    assert [model.stage for model in bench.train(workspace)] == ["top", "fine-tune"]


def test_train_trial_trains_again_when_a_model_file_was_damaged(bench: Bench, workspace: Workspace) -> None:
    (top,) = bench.train(workspace, last="top")
    path = workspace.absolute(top.path)
    path.write_bytes(path.read_bytes()[:-1])
    (again,) = bench.train(workspace, last="top")
    assert again.digest == top.digest
    assert load_keras(again, workspace)


def test_train_trial_keeps_statistics_when_batch_norm_has_some(bench: Bench, workspace: Workspace) -> None:
    def moved() -> bool:
        norm = load_keras(bench.train(workspace)[-1], workspace).get_layer("tiny").get_layer("norm")
        return bool(np.any(norm.get_weights()[2] != 0))

    assert not moved()
    bench.change('[[stages]]\nname = "top"', '[networks.tiny]\nweights = "none"\n[[stages]]\nname = "top"')
    assert moved()


def test_train_trial_names_the_causes_when_nothing_was_learned(bench: Bench, workspace: Workspace) -> None:
    bench.change("learning_rate = 0.01", "learning_rate = 1e-9")
    progress = Silent()
    (top,) = bench.train(workspace, progress, last="top")
    assert "majority rate 0.500" in top.warnings[0]
    assert "wrong input scaling" in top.warnings[0]
    assert any(line.startswith("warning: tiny-softmax top") for line in progress.messages)


def test_train_trial_stops_with_advice_when_loss_is_nan(bench: Bench, workspace: Workspace) -> None:
    bench.change("learning_rate = 0.003", 'optimizer = "sgd"\nlearning_rate = 3e38')
    with pytest.raises(DataError, match="no longer a number in epoch"):
        bench.train(workspace)


def test_train_trial_refuses_when_the_network_is_unknown(bench: Bench, workspace: Workspace) -> None:
    bench.change('networks = ["tiny"]', 'networks = ["tinny"]')
    with pytest.raises(ConfigurationError, match="did you mean tiny"):
        bench.train(workspace)


def test_train_trial_refuses_when_a_sigmoid_meets_three_classes(bench: Bench, workspace: Workspace) -> None:
    (bench.root / "images" / "red").rename(bench.root / "images" / "rot")
    for number in range(12):
        source = bench.root / "images" / "rot" / f"{number}.png"
        target = bench.root / "images" / "green" / source.name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(_turned(source.read_bytes()))
    with pytest.raises(ConfigurationError, match="tells 2 classes apart, and the data has 3"):
        bench.train(workspace, head="sigmoid")


def _turned(content: bytes) -> bytes:
    import cv2

    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    return cv2.imencode(".png", np.roll(image, 1, axis=2))[1].tobytes()
