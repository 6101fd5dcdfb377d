from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.invoke import imported_by
from toolkit import data
from toolkit.experiment.load import load_experiment
from toolkit.progress import Silent
from toolkit.store import Store
from toolkit.train import train_trials
from toolkit.train.executors import LocalExecutor

if TYPE_CHECKING:
    from conftest import Bench, Sweep

    from toolkit.workspace import Workspace


def _refuse(*arguments: Any) -> None:
    raise AssertionError(f"a process was started: {arguments}")


@pytest.mark.slow
def test_train_trials_starts_no_process_when_all_is_trained(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    first, progress = sweep.train(last="top"), Silent()
    monkeypatch.setattr(LocalExecutor, "run", _refuse)
    assert sweep.train(progress, last="top") == first
    assert [line for line in progress.messages if "skipped" in line] == progress.messages
    with pytest.raises(AssertionError, match="a process was started"):
        sweep.train(last="fine-tune")


@pytest.mark.slow
def test_train_imports_no_framework_when_all_is_trained(sweep: Sweep) -> None:
    sweep.train(last="top")
    modules = imported_by("train", sweep.file, "--stage", "top", "--workspace", sweep.workspace.root)
    assert "toolkit.train.sweep" in modules
    assert not {"tensorflow", "keras", "openvino", "sklearn", "toolkit.convert"} & modules


def test_train_trials_prints_the_settings_of_a_folder(
    bench: Bench, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, progress = load_experiment(bench.root / "images"), Silent()
    split = data.prepare_dataset(plan.data, plan.origin, workspace, progress)
    monkeypatch.setattr(LocalExecutor, "run", lambda *arguments: None)
    with Store(workspace.database) as store:
        train_trials(plan, tuple(plan.trials()), split, workspace, store, progress)
    (text,) = (line for line in progress.messages if line.startswith("settings"))
    file = bench.root / "settings.toml"
    file.write_text(text.partition("\n\n")[2], encoding="utf-8")
    written = load_experiment(file)
    assert [stage.optimizer for stage in written.stages] == ["lbfgs", "adamw"]
    assert written.data.path == bench.root / "images"
