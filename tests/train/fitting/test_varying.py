from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from toolkit.data.augmentation.augment import augment
from toolkit.progress import Silent
from toolkit.train import trial
from toolkit.workspace import Workspace

if TYPE_CHECKING:
    from conftest import Bench, Stopping

pytestmark = pytest.mark.slow

AUGMENT = (
    "[augment]\nflip = true\nrotate = 15\nbrightness = 0.1\n"
    "resized_crop = 0.3\nsaturation = 0.2\nhue = 0.05\nrand_augment = 5\nmixup = 0.2\n"
)


def test_train_trial_keeps_no_features_when_images_are_varied(bench: Bench, workspace: Workspace) -> None:
    bench.change('augment = "none"\n', "")
    bench.change("[train]", f"{AUGMENT}[train]")
    progress = Silent()
    varied = bench.train(workspace, progress)
    assert "  tiny-softmax top: [augment] is on, so the backbone runs in every epoch" in progress.messages
    assert [model.stage for model in varied] == ["top", "fine-tune"]
    assert not (workspace.root / "cache" / "features").exists()
    bench.change(AUGMENT, "")
    bench.change('name = "tiny"', 'name = "tiny"\naugment = "none"')
    plain = bench.train(workspace)
    assert {model.run for model in plain}.isdisjoint(model.run for model in varied)
    assert {model.digest for model in plain}.isdisjoint(model.digest for model in varied)


def test_train_trial_is_bit_exact_when_varied_and_stopped(
    bench: Bench, workspace: Workspace, stopping: type[Stopping]
) -> None:
    bench.change('augment = "none"\n', "")
    bench.change("[train]", f"{AUGMENT}[train]")
    stopped = Workspace(workspace.root / "stopped")
    with pytest.raises(KeyboardInterrupt):
        bench.train(stopped, stopping(images=12 + 5))
    resumed, straight = bench.train(stopped), bench.train(workspace)
    assert [model.digest for model in resumed] == [model.digest for model in straight]


def test_train_trial_is_bit_exact_when_batches_are_late(
    bench: Bench, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.change('augment = "none"\n', "")
    bench.change("[train]", f"{AUGMENT}[train]")
    straight = bench.train(workspace)

    def late(images: np.ndarray, at: np.ndarray, *settings: Any, **more: Any) -> np.ndarray:
        time.sleep(random.random() / 50)
        return augment(images, at, *settings, **more)

    monkeypatch.setattr(trial, "augment", late)
    delayed = bench.train(Workspace(workspace.root / "delayed"))
    assert [model.digest for model in delayed] == [model.digest for model in straight]
