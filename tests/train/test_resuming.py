from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from toolkit.artifacts.model import Epoch
from toolkit.progress import Silent
from toolkit.train import load_keras
from toolkit.train.fitting.checkpoint import TrainingState, restore, save
from toolkit.workspace import Workspace

if TYPE_CHECKING:
    from conftest import Bench, Stopping

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("images", [12 + 5, 36 + 12 + 5])
def test_train_trial_is_bit_exact_when_stopped(
    images: int, bench: Bench, workspace: Workspace, stopping: type[Stopping]
) -> None:
    stopped = Workspace(workspace.root / "stopped")
    with pytest.raises(KeyboardInterrupt):
        bench.train(stopped, stopping(images=images))
    resumed, straight = bench.train(stopped), bench.train(workspace)
    assert [model.digest for model in resumed] == [model.digest for model in straight]
    for one, other in zip(resumed, straight, strict=True):
        assert [_figures(epoch) for epoch in one.history] == [_figures(epoch) for epoch in other.history]
        first, second = (
            load_keras(model, place).get_weights() for model, place in ((one, stopped), (other, workspace))
        )
        assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_train_trial_loses_only_running_epoch_when_stopped(
    bench: Bench, workspace: Workspace, stopping: type[Stopping]
) -> None:
    with pytest.raises(KeyboardInterrupt):
        bench.train(workspace, stopping(images=2 * 12 + 5))
    progress = Silent()
    bench.train(workspace, progress)
    assert "  tiny-softmax top: resuming after epoch 2 of 3" in progress.messages


def test_fit_keeps_the_best_epoch_when_patience_ends_it(bench: Bench, workspace: Workspace) -> None:
    bench.change("epochs = 3\nlearning_rate = 0.01", "epochs = 50\nlearning_rate = 3.0\npatience = 2")
    (top,) = bench.train(workspace, last="top")
    losses = [epoch.val_loss for epoch in top.history]
    assert len(losses) < 50
    assert losses.index(min(losses)) == len(losses) - 3


def test_fit_keeps_the_last_averaged_weights_without_patience(bench: Bench, workspace: Workspace) -> None:
    """The same as those of the best epoch, where that is the last."""
    bench.change("average = 0", "average = 0.9")
    with_patience = bench.train(workspace)[-1]
    losses = [epoch.val_loss for epoch in with_patience.history if epoch.stage == "fine-tune"]
    assert losses == sorted(losses, reverse=True)
    bench.change("patience = 5\nhead_rate = 1", "head_rate = 1")
    without = bench.train(workspace)[-1]
    first, second = (load_keras(model, workspace).get_weights() for model in (with_patience, without))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_fit_keeps_the_last_epoch_not_the_best_without_patience(bench: Bench, workspace: Workspace) -> None:
    bench.change("epochs = 3\nlearning_rate = 0.003", "epochs = 6\nlearning_rate = 3.0")
    bench.change("patience = 5\nhead_rate = 1", "patience = 6\nhead_rate = 1")
    with_patience = bench.train(workspace)[-1]
    losses = [epoch.val_loss for epoch in with_patience.history if epoch.stage == "fine-tune"]
    assert len(losses) == 6
    assert losses[-1] > min(losses)
    bench.change("patience = 6\nhead_rate = 1", "head_rate = 1")
    without = bench.train(workspace)[-1]
    assert [_figures(epoch) for epoch in without.history] == [_figures(epoch) for epoch in with_patience.history]
    first, second = (load_keras(model, workspace).get_weights() for model in (with_patience, without))
    assert not all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_restore_starts_anew_when_the_checkpoint_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.npz"
    save(path, TrainingState(), [], [])
    path.write_bytes(path.read_bytes()[:-20])
    assert restore(path, [], []).epochs == []


def test_train_trial_leaves_no_partial_file_when_interrupted(
    bench: Bench, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, made = Path.open, []

    def make(path: Path, *arguments: Any, **named: Any) -> Any:
        stream = whole(path, *arguments, **named)
        if "checkpoint" in path.name and path.suffix == ".part":
            made.append(path)
            raise KeyboardInterrupt
        return stream

    monkeypatch.setattr(Path, "open", make)
    with pytest.raises(KeyboardInterrupt):
        bench.train(workspace)
    assert made
    assert not [path for path in workspace.folder("runs").rglob("*") if path.is_file()]


def test_train_command_exits_130_when_interrupted(bench: Bench, workspace: Workspace, stopping: type[Stopping]) -> None:
    bench.change('["tiny"]', '["mobilenet"]')
    bench.change("[train]", '[networks.mobilenet]\nweights = "none"\ninput_size = 32\n[train]')
    bench.change("epochs = 3\nlearning_rate = 0.01", "epochs = 100000\npatience = 100000\nlearning_rate = 0.01")
    argv = [sys.executable, "-c", "from toolkit.cli.main import main; main()"]
    argv += ["train", str(bench.file), "--workspace", str(workspace.root)]
    log = bench.root / "log"
    with log.open("w") as stream:
        process = subprocess.Popen(argv, stderr=stream, stdout=subprocess.PIPE, text=True)
    while "top: epoch 3/" not in log.read_text():
        assert process.poll() is None, log.read_text()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    talk = log.read_text()
    assert process.returncode == 130, talk
    assert "interrupted; finished work is saved" in talk
    assert "Traceback" not in talk
    assert output == ""
    assert [path.name for path in workspace.folder("runs").rglob("*") if path.is_file()] == ["checkpoint.npz"]
    going_on = stopping(line="resuming after epoch")
    with pytest.raises(KeyboardInterrupt):
        bench.train(workspace, going_on)
    assert int(going_on.messages[-1].split("epoch ")[1].split()[0]) >= 3


def _figures(epoch: Epoch) -> tuple[float, ...]:
    return epoch.number, epoch.loss, epoch.accuracy, epoch.val_loss, epoch.val_accuracy
