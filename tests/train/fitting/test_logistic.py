from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from toolkit.train.fitting import logistic


def points(count: int = 120, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    return (rng.normal(size=(count, 8)) + np.eye(3, 8)[labels] * 2).astype(np.float32), labels


@pytest.mark.parametrize("l2", [1.0, 0.01])
def test_fit_finds_the_optimum_that_scikit_learn_finds(l2: float) -> None:
    features, labels = points()
    scaled = (features - features.mean(0)) / features.std(0)
    theirs = LogisticRegression(C=1 / (l2 * len(labels)), max_iter=5000, tol=1e-8).fit(scaled, labels)
    (ours,) = logistic.fit(features, np.eye(3)[labels], np.ones(len(labels)), (l2,))
    logits = ours.logits(features)
    centered = logits - logits.mean(1, keepdims=True)
    other = theirs.decision_function(scaled)
    np.testing.assert_allclose(centered, other - other.mean(1, keepdims=True), atol=0.02)


def test_fit_gives_each_label_its_own_sigmoid_when_not_shared() -> None:
    features, labels = points()
    targets = np.stack([labels == 0, labels >= 1], axis=1).astype(np.float32)
    (model,) = logistic.fit(features, targets, np.ones(len(labels)), (0.01,), shared=False)
    assert ((model.logits(features) > 0) == (targets == 1)).mean() > 0.85


def test_fit_follows_the_weights_of_images() -> None:
    features, labels = np.zeros((4, 1), np.float32), np.array([0, 0, 0, 1])
    (model,) = logistic.fit(features, np.eye(2)[labels], np.where(labels == 1, 9.0, 1.0), (1.0,))
    assert model.bias[1] - model.bias[0] == pytest.approx(np.log(3), abs=1e-3)
