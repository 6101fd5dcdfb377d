from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from toolkit.errors import ConfigurationError
from toolkit.train import load_keras
from toolkit.workspace import Workspace

if TYPE_CHECKING:
    from conftest import Bench, Stopping

pytestmark = pytest.mark.slow

ALL_AT_ONCE = """[train]
dropout = 0.3
loss = "binary"
label_smoothing = 0.1
class_weights = "balanced"
"""


def norm_of(bench: Bench, workspace: Workspace) -> tuple[bool, bool]:
    """Whether fine-tuning moved the batch-norm's statistics, and the convolution before it."""
    top, tuned = (load_keras(model, workspace).get_layer("tiny") for model in bench.train(workspace))
    moved = [
        any(not np.array_equal(a, b) for a, b in zip(first, second, strict=True))
        for first, second in (
            (top.get_layer("norm").get_weights()[2:], tuned.get_layer("norm").get_weights()[2:]),
            (top.get_layer("convolution").get_weights(), tuned.get_layer("convolution").get_weights()),
        )
    ]
    return moved[0], moved[1]


@pytest.mark.parametrize("images", [4 * 12 + 5, 5 * 12 + 2 * 12 + 5])
def test_train_trial_is_bit_exact_when_all_is_set_and_stopped(
    images: int, bench: Bench, workspace: Workspace, stopping: type[Stopping]
) -> None:
    bench.change("[train]\n", ALL_AT_ONCE)
    bench.change(
        "epochs = 3\nlearning_rate = 0.01",
        'epochs = 5\nlearning_rate = 30.0\nschedule = { kind = "plateau", patience = 1 }',
    )
    bench.change("learning_rate = 0.003", 'learning_rate = 0.003\nschedule = "cosine"\nbatch_norm = "training"')
    stopped = Workspace(workspace.root / "stopped")
    with pytest.raises(KeyboardInterrupt):
        bench.train(stopped, stopping(images=images))
    resumed, straight = bench.train(stopped), bench.train(workspace)
    assert [model.digest for model in resumed] == [model.digest for model in straight]
    for one, other in zip(resumed, straight, strict=True):
        assert [epoch.learning_rate for epoch in one.history] == [epoch.learning_rate for epoch in other.history]
        assert [epoch.loss for epoch in one.history] == [epoch.loss for epoch in other.history]
        assert one.loss == "binary"
    assert [epoch.learning_rate for epoch in straight[1].history] == pytest.approx([0.003, 0.00225, 0.00075])
    assert straight[0].history[-1].learning_rate < 30


def test_train_trial_resumes_to_the_bit_with_averaged_weights(
    bench: Bench, workspace: Workspace, stopping: type[Stopping]
) -> None:
    recipe = 'optimizer = "adamw"\nweight_decay = 0.01\nclip_norm = 0.5\naverage = 0.9\nhead_rate = 10\n'
    bench.change(
        "learning_rate = 0.003", f'{recipe}schedule = {{ kind = "cosine", warmup = 1 }}\nlearning_rate = 0.003'
    )
    stopped = Workspace(workspace.root / "stopped")
    with pytest.raises(KeyboardInterrupt):
        bench.train(stopped, stopping(images=3 * 12 + 2 * 12 + 5))
    resumed, straight = bench.train(stopped), bench.train(workspace)
    assert [model.digest for model in resumed] == [model.digest for model in straight]
    assert [epoch.val_loss for epoch in resumed[1].history] == [epoch.val_loss for epoch in straight[1].history]


def test_train_trial_freezes_layers_below_when_from_layer_is_set(bench: Bench, workspace: Workspace) -> None:
    bench.change("learning_rate = 0.003", 'learning_rate = 0.003\nfrom_layer = "relu"\nbatch_norm = "training"')
    assert norm_of(bench, workspace) == (False, False)
    bench.change('"relu"', '"norm"')
    assert norm_of(bench, workspace) == (True, False)


def test_train_trial_refuses_when_there_is_no_such_layer(bench: Bench, workspace: Workspace) -> None:
    bench.change("learning_rate = 0.003", 'from_layer = "normal"')
    with pytest.raises(ConfigurationError, match="tiny has no layer 'normal'"):
        bench.train(workspace)
    assert not (workspace.root / "runs").exists()
