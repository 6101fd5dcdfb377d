from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from toolkit.errors import ConfigurationError
from toolkit.experiment.load import load_experiment
from toolkit.progress import Silent
from toolkit.train import label_review
from toolkit.workspace import Workspace

if TYPE_CHECKING:
    from conftest import Bench


def features_of(classes: int, each: int, distance: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Clouds of 32 dimensions around a center for each class."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), each)
    centers = rng.normal(size=(classes, 32)) * distance
    return (centers[labels] + rng.normal(size=(len(labels), 32))).astype(np.float32), labels


@pytest.mark.parametrize(("classes", "each", "distance"), [(2, 100, 0.6), (5, 60, 0.8), (10, 40, 0.8)])
def test_doubtful_finds_planted_errors_first(classes: int, each: int, distance: float) -> None:
    features, labels = features_of(classes, each, distance)
    rng = np.random.default_rng(1)
    planted = rng.choice(len(labels), len(labels) // 20, replace=False)
    wrong = labels.copy()
    wrong[planted] = (labels[planted] + rng.integers(1, classes, len(planted))) % classes
    order = label_review.doubtful(wrong, label_review.out_of_fold(features, wrong))
    first = order[: len(planted)]
    assert len(set(first) & set(planted.tolist())) / len(planted) >= 0.7


def test_doubtful_is_empty_when_all_labels_fit() -> None:
    features, labels = features_of(3, 30, 5.0)
    assert label_review.doubtful(labels, label_review.out_of_fold(features, labels)) == []


@pytest.mark.slow
def test_review_labels_lists_and_draws_doubtful_images(bench: Bench, workspace: Workspace, tmp_path: Path) -> None:
    experiment, split = load_experiment(bench.file), bench.split(workspace)
    sheet = tmp_path / "doubtful.png"
    labels = label_review.review_labels(experiment, split, workspace, Silent(), limit=3, sheet=sheet)
    assert len(labels) <= 3
    assert all(one.label != one.suggestion and one.image.name for one in labels)
    assert cv2.imread(str(sheet)) is not None


def test_review_labels_refuses_features_of_random_weights(bench: Bench, workspace: Workspace, tmp_path: Path) -> None:
    split = bench.split(workspace)
    bench.change("[train]\n", '[networks.tiny]\nweights = "none"\n[train]\n')
    with pytest.raises(ConfigurationError, match="random weights"):
        label_review.review_labels(
            load_experiment(bench.file), split, workspace, Silent(), limit=3, sheet=tmp_path / "x"
        )
