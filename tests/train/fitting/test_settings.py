from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from toolkit.errors import ConfigurationError
from toolkit.progress import Silent
from toolkit.train import load_keras
from toolkit.train.metrics import multiclass
from toolkit.train.trial_context import class_weight_array
from toolkit.workspace import Workspace

if TYPE_CHECKING:
    from conftest import Bench


@pytest.mark.slow
def test_sparse_and_one_hot_targets_give_the_same_weights(bench: Bench, workspace: Workspace) -> None:
    (categorical,) = bench.train(workspace, last="top")
    bench.change("[train]", '[train]\nloss = { softmax = "sparse-categorical" }')
    (sparse,) = bench.train(workspace, last="top")
    assert (categorical.loss, sparse.loss) == ("categorical", "sparse-categorical")
    assert sparse.run != categorical.run
    one, other = (load_keras(model, workspace).get_weights() for model in (categorical, sparse))
    for first, second in zip(one, other, strict=True):
        np.testing.assert_allclose(first, second, atol=1e-6)


@pytest.mark.slow
def test_one_node_and_two_learn_alike_when_given_the_same_images(bench: Bench, workspace: Workspace) -> None:
    bench.change("hidden = [4]", "hidden = []")
    bench.change("epochs = 3\nlearning_rate = 0.01", "epochs = 40\nlearning_rate = 0.1")
    accuracies = [
        bench.train(workspace, head=head, last="top")[0].history[-1].accuracy for head in ("sigmoid", "softmax")
    ]
    assert min(accuracies) > 0.9


@pytest.mark.parametrize(
    ("settings", "expected"),
    [("none", [1, 1]), ("balanced", [1, 1]), ({"red": 2.5}, [1, 2.5])],
)
def test_weights_of_classes_are_by_label_when_given(
    settings: Any, expected: list[float], bench: Bench, workspace: Workspace
) -> None:
    np.testing.assert_allclose(class_weight_array(settings, bench.split(workspace)), expected)


def test_class_weights_refuse_when_data_has_no_such_label(bench: Bench, workspace: Workspace) -> None:
    with pytest.raises(ConfigurationError, match="the data has no label green"):
        class_weight_array({"green": 2.0}, bench.split(workspace))


@pytest.mark.slow
def test_class_weights_shift_answers_when_one_label_dominates(bench: Bench, workspace: Workspace) -> None:
    bench.change("hidden = [4]", "hidden = []")
    shares = []
    for weights in ("{ red = 1000 }", "{ blue = 1000 }"):
        bench.change("[train]\n", f"[train]\nclass_weights = {weights}\n")
        (top,) = bench.train(workspace, last="top")
        shares.append(np.mean(top.evaluation.probabilities))
        bench.change(f"class_weights = {weights}\n", "")
    assert shares[0] > shares[1] + 0.05


@pytest.mark.slow
def test_evaluation_uses_plain_targets_when_training_smooths(bench: Bench, workspace: Workspace) -> None:
    bench.change("[train]", "[train]\nlabel_smoothing = 0.4")
    (top,) = bench.train(workspace, last="top")
    second = np.array(top.evaluation.probabilities)[:, 0]
    labels = np.array([0] * 3 + [1] * 3)
    shares = np.where(labels == 1, second, 1 - second)
    assert top.evaluation.loss == pytest.approx(float(-np.log(shares).mean()), rel=1e-3)
    assert len(top.evaluation.calibration.bins) == multiclass.BINS  # type: ignore[union-attr]


@pytest.mark.slow
def test_train_trial_judges_the_rule_on_strangers_too(bench: Bench, workspace: Workspace) -> None:
    folder = bench.root / "strangers"
    folder.mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (32, 32, 3), np.uint8)
        assert cv2.imwrite(str(folder / f"{number}.png"), pixels)
    bench.change("[train]\n", '[reject]\nerror = 0.4\nstrangers = "strangers"\n[train]\n')
    for model in bench.train(workspace):
        rule = model.rejection
        assert rule is not None
        assert rule.test_images == model.evaluation.images
        assert rule.strangers is not None
        assert rule.strangers.images == 3
        assert 0 <= rule.strangers.auroc <= 1


@pytest.mark.slow
def test_train_trial_leaves_classes_out_as_strangers(bench: Bench, workspace: Workspace) -> None:
    for number in range(12):
        (bench.root / "images" / "green").mkdir(exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 60, (32, 32, 3), np.uint8)
        pixels[:, :, 1] += 190
        assert cv2.imwrite(str(bench.root / "images" / "green" / f"{number}.png"), pixels)
    bench.change("[train]\n", '[reject]\nerror = 0.4\nstrangers = "leave-one-out"\n[train]\n')
    top, whole = (model.rejection for model in bench.train(workspace))
    assert top is not None
    assert top.strangers is not None
    assert (top.strangers.classes_left_out, top.strangers.images) == (3, top.test_images)
    assert whole is not None
    assert whole.strangers == top.strangers


def test_train_trial_reports_when_no_class_can_be_left_out(bench: Bench, workspace: Workspace) -> None:
    bench.change("[train]\n", '[reject]\nerror = 0.4\nstrangers = "leave-one-out"\n[train]\n')
    progress = Silent()
    (top,) = bench.train(workspace, progress, last="top")
    assert top.rejection is not None
    assert top.rejection.strangers is None
    assert any("takes three classes" in line for line in progress.messages)
