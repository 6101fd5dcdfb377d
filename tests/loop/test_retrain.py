"""Training again on labeled captures: only new images are computed, and both models answer the same ones."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from toolkit import data, train
from toolkit.artifacts.bundle import Bundle
from toolkit.artifacts.fleet import Deployment
from toolkit.artifacts.labeling import CLASS, Retraining
from toolkit.artifacts.model import TrainedModel
from toolkit.errors import ConfigurationError
from toolkit.experiment.load import load_experiment
from toolkit.experiment.schema import Experiment
from toolkit.loop import retrain as retraining
from toolkit.loop.added_classes import add_classes
from toolkit.loop.clusters import cluster_captures
from toolkit.loop.decisions import Choice, record
from toolkit.loop.next_round import new_labels
from toolkit.loop.retrain import model_of, retrain, serving_model, trial_to_retrain
from toolkit.loop.trace import format_lineage, trace_capture
from toolkit.loop.versions import load_versions
from toolkit.networks.tf_runtime import start_tensorflow
from toolkit.progress import Silent
from toolkit.store import Store
from toolkit.workspace import Workspace

from ..invoke import run
from .conftest import Capturing, draw

pytestmark = pytest.mark.slow

EXPERIMENT = """
name = "colors"
[data]
source = "folders"
path = "images"
split = { train = 0.5, validation = 0.25, test = 0.25 }
[matrix]
networks = ["small"]
[[stages]]
name = "top"
[networks.small]
body = "body.keras"
input_size = 32
scaling = "symmetric"
[convert]
precisions = ["fp32"]
"""


class Log(Silent):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def log(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def trainable(plan: Experiment) -> Experiment:
    """The experiment on colors with a small body."""
    start_tensorflow()
    import keras

    keras.utils.set_random_seed(0)
    images = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(8, 3, strides=4)(images)
    keras.Model(images, keras.layers.ReLU()(x)).save(plan.origin.with_name("body.keras"))
    plan.origin.write_text(EXPERIMENT)
    return load_experiment(plan.origin)


def purple(seed: int) -> np.ndarray:
    """Light that the first model never saw: red and blue in equal parts."""
    return np.asarray(draw("red", seed) // 2 + draw("red", seed)[..., ::-1] // 2)


def test_new_model_stands_beside_the_serving_one(
    trainable: Experiment,
    workspace: Workspace,
    store: Store,
    capture: Capturing,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ConfigurationError, match="no model of the experiment"):
        serving_model(trainable, store)
    split = data.prepare_dataset(trainable.data, trainable.origin, workspace, Silent())
    store.put(split)
    trials = tuple(trainable.trials())
    (first,) = train.train_trials(trainable, trials, split, workspace, store, Silent()).models
    assert serving_model(trainable, store) == first
    assert retrain(trainable, workspace, store, Silent()) is None

    captures = [
        capture("red", 100 + n, device=f"pi-{n % 4}", policy=("random", "unsure")[n % 2], image=purple(n))
        for n in range(12)
    ]
    record(store, [Choice(one.digest, CLASS, "red") for one in captures], who="ann")
    assert trial_to_retrain(trainable, store) == trials[0]
    alike = cluster_captures(trainable, trials[0], split, captures, workspace, Silent())
    assert alike.keys() == {one.digest for one in captures}
    log = Log()
    result = retrain(trainable, workspace, store, log)
    assert result is not None
    assert not result.refused
    assert (result.serving, result.serving_version, result.version) == (first.digest, "colors@v1", "colors@v2")
    groups = {one.images_of: one for one in result.comparisons}
    assert groups["old test images"].images == split.size("test")
    assert groups["new test images"].images == sum(
        one.images for name, one in groups.items() if name.startswith("device")
    )
    assert groups["old test images"].serving == first.evaluation.accuracy
    learned = list(load_versions(store, "colors")[-1].captures.values()).count("train")
    assert learned > 3
    assert any(f"features of train images: 0 new, {learned + 8} cached" in line for line in log.lines), "\n".join(
        log.lines
    )
    new = store.get(TrainedModel, result.parent)
    assert new is not None
    assert model_of(result.bundle, store) == new
    correct = sum(one.new * one.images for one in (groups["old test images"], groups["new test images"]))
    assert correct == pytest.approx(new.evaluation.accuracy * new.evaluation.images)

    released = Deployment(digest="d", parent=result.bundle, device="pi-0", release="e" * 64, outcome="deployed")
    trained = next(one for one in captures if one.policy == "unsure")
    store.put(released)
    assert serving_model(trainable, store) == new
    steps = format_lineage(trace_capture(trained.digest[:10], store))
    assert [step for step, _ in steps] == ["frame", "device", "label", "version", "model", "bundle", "release"]
    assert retrain(trainable, workspace, store, Silent()) is None

    store.put(dataclasses.replace(released, digest="f", parent="none"))
    monkeypatch.setattr(retraining, "serving_model", lambda *_: first)
    lost = dataclasses.replace(groups["old test images"], only_serving=9, only_new=0, p_value=0.004)
    monkeypatch.setattr(retraining, "compare", lambda *_: (lost,))
    assert run("retrain", trainable.origin, "--workspace", workspace.root, "--json") == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["refused"].startswith("worse on the old test images: 9 of")
    assert answer["bundle"] == ""
    assert len(store.all(Bundle)) == 1
    assert run("retrain", trainable.origin, "--workspace", workspace.root, "--force") == 0
    assert f"toolkit deploy {result.bundle[:12]}" in capsys.readouterr().out
    assert len(store.all(Retraining)) == 1
    assert Path(workspace.absolute(new.path)).is_file()


def test_new_class_gets_a_head_and_old_classes_stay(
    trainable: Experiment, workspace: Workspace, store: Store, capture: Capturing
) -> None:
    """A sigmoid tells two classes apart, so a third one needs a softmax."""
    trainable.origin.write_text(EXPERIMENT.replace('["small"]', '["small"]\nheads = ["sigmoid"]'))
    plan = load_experiment(trainable.origin)
    split = data.prepare_dataset(plan.data, plan.origin, workspace, Silent())
    store.put(split)
    (first,) = train.train_trials(plan, tuple(plan.trials()), split, workspace, store, Silent()).models
    captures = [
        capture("red", 100 + n, device=f"pi-{n}", policy=("random", "unsure")[n % 2], image=purple(n))
        for n in range(12)
    ]
    add_classes(store, "colors", ["purple"], split.labels, who="ann")
    record(store, [Choice(one.digest, CLASS, "purple") for one in captures], who="ann")
    assert new_labels(plan, first, store) == 12
    result = retrain(plan, workspace, store, Silent())
    assert result is not None
    new = store.get(TrainedModel, result.parent)
    assert new is not None
    assert (first.head, new.head, new.labels) == ("sigmoid", "softmax", ("blue", "red", "purple"))
    groups = {one.images_of: one for one in result.comparisons}
    assert groups.keys() == {"old test images", "test images of new classes"}
    assert groups["old test images"].images == split.size("test")
    assert groups["test images of new classes"].serving == 0
    assert groups["test images of new classes"].new > 0.5
    bundle = store.get(Bundle, result.bundle)
    assert bundle is not None
    manifest = json.loads((workspace.absolute(bundle.path) / "manifest.json").read_bytes())
    assert manifest["labels"] == ["blue", "red", "purple"]
