from __future__ import annotations

import numpy as np
import pytest

from toolkit import networks
from toolkit.train.fitting import head_solver
from toolkit.train.fitting.loop import Examples, TrainState


def examples(count: int, seed: int) -> Examples:
    draw = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    return Examples((draw.normal(size=(count, 6)) + 2 * np.eye(3, 6)[labels]).astype(np.float32), labels)


@pytest.fixture
def state() -> TrainState:
    head = networks.find_head("softmax", 3, "auto", 0.0, multi_label=False)
    return TrainState(None, lambda x: x, [], head, np.ones(3, np.float32), lambda inputs, _: inputs)


def test_best_model_learns_from_augmented_copies(state: TrainState) -> None:
    """A direction that the images never show matters once copies of them show it."""
    train, validation = examples(30, 0), examples(9, 1)
    moved = train.inputs + np.random.default_rng(2).normal(0, 3, train.inputs.shape) * [0, 0, 0, 1, 1, 1]
    plain = head_solver.best_model(state, train, validation)
    varied = head_solver.best_model(state, train, validation, Examples(moved.astype(np.float32), train.labels))
    assert np.abs(varied.kernel[3:]).mean() < 0.5 * np.abs(plain.kernel[3:]).mean()


def test_best_model_holds_an_image_out_with_its_copies(state: TrainState, monkeypatch: pytest.MonkeyPatch) -> None:
    train, validation = examples(30, 0), examples(9, 1)
    copies = Examples(np.concatenate([train.inputs + 100, train.inputs + 200]), np.tile(train.labels, 2))
    seen: list[np.ndarray] = []
    fit = head_solver.logistic.fit

    def spy(features: np.ndarray, *arguments: object, **options: object) -> object:
        seen.append(features)
        return fit(features, *arguments, **options)  # type: ignore[arg-type]  # what it was called with

    monkeypatch.setattr(head_solver.logistic, "fit", spy)
    head_solver.best_model(state, train, validation, copies)
    whole, *folds = seen
    assert [len(whole), *map(len, folds)] == [90, *[72] * head_solver.FOLDS]
    for fold in folds:
        images = np.split(fold, 3)
        np.testing.assert_allclose(images[1] - 100, images[0], atol=1e-4)
        np.testing.assert_allclose(images[2] - 200, images[0], atol=1e-4)
