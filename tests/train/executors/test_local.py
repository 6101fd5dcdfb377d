"""Trials in processes of their own, as they are: killed, interrupted, side by side."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from toolkit.artifacts.model import TrainedModel
from toolkit.errors import ConfigurationError, ExitCode
from toolkit.progress import Silent
from toolkit.store import Store
from toolkit.system.cpu_quota import available_cpus
from toolkit.train import SweepOptions
from toolkit.train.executors.local import next_place
from toolkit.workspace import Workspace

if TYPE_CHECKING:
    from conftest import Sweep


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    lists = (path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/children"))
    return [int(child) for result in lists for child in result]


def trial_workers(pid: int) -> list[int]:
    """Its children that train; the others decode images in a sandbox."""
    lines = {child: Path(f"/proc/{child}/cmdline").read_bytes() for child in children(pid)}
    return [child for child, line in lines.items() if b"toolkit.train.executors.worker" in line]


class Killing(Silent):
    """Kills the processes that train when a line with this text is logged."""

    def __init__(self, trigger: str) -> None:
        super().__init__()
        self.trigger: str | None = trigger

    def log(self, text: str) -> None:
        super().log(text)
        if self.trigger is not None and self.trigger in text:
            self.trigger = None
            for pid in trial_workers(os.getpid()):
                os.kill(pid, signal.SIGKILL)


@pytest.mark.slow
def test_train_trials_gives_the_same_when_run_in_parallel(
    sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As many threads as here, since their number decides the last bits of a sum.
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", os.environ.get("TF_NUM_INTRAOP_THREADS", str(available_cpus())))
    sweep_result = sweep.train(sweep_options=SweepOptions(jobs=2))
    assert sweep_result.failed == ()
    expected = [("one", "top"), ("one", "fine-tune"), ("two", "top"), ("two", "fine-tune")]
    assert [(model.network, model.stage) for model in sweep_result.models] == expected
    here = sweep.trained_here(Workspace(tmp_path / "here"))
    assert [model.digest for model in sweep_result.models] == [model.digest for model in here]
    with Store(sweep.workspace.database) as store:
        assert {model.digest for model in store.all(TrainedModel)} == {model.digest for model in here}
    again = Silent()
    assert sweep.train(again).models == sweep_result.models
    assert len([line for line in again.messages if "trained already, skipped" in line]) == 4


@pytest.mark.slow
def test_train_trials_continues_when_a_process_is_killed(sweep: Sweep) -> None:
    progress = Killing("one-softmax top: epoch 2/")
    sweep_result = sweep.train(progress, last="top", sweep_options=SweepOptions(jobs=1))
    assert [(model.network, model.stage) for model in sweep_result.models] == [("two", "top")]
    assert sweep_result.exit_code == ExitCode.SOME_FAILED
    (problem,) = sweep_result.failed
    assert problem.where == "one-softmax"
    assert "killed (signal 9)" in problem.what
    assert "batch_size" in problem.remedy
    going_on = Silent()
    assert len(sweep.train(going_on, last="top", sweep_options=SweepOptions(jobs=1)).models) == 2
    # The worker may finish its last epoch before the signal of another process ends it.
    assert {f"  one-softmax top: resuming after epoch {epoch} of 3" for epoch in (2, 3)} & {*going_on.messages}


def test_train_trials_raises_trial_error_when_all_fail(sweep: Sweep) -> None:
    sweep.change('["softmax"]', '["sigmoid"]')
    sweep.change("[train]", "[train]\nclass_weights = { green = 2 }")
    progress = Silent()
    with pytest.raises(ConfigurationError, match="the data has no label green") as caught:
        sweep.train(progress, sweep_options=SweepOptions(jobs=1))
    assert len(caught.value.problems) == 1
    assert [line for line in progress.messages if "failed" in line] == [
        f"failed: {network}-sigmoid: the data has no label green" for network in ("one", "two")
    ]


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_train_command_leaves_no_process_when_ended(sweep: Sweep, end: signal.Signals) -> None:
    sweep.change("epochs = 3\nlearning_rate = 0.01", "epochs = 100000\npatience = 100000\nlearning_rate = 0.01")
    command_line = [sys.executable, "-m", "toolkit", "train", str(sweep.file), "--workspace", str(sweep.workspace.root)]
    log = sweep.file.with_name("log")
    with log.open("w") as stream:
        command = subprocess.Popen([*command_line, "--jobs", "2"], stderr=stream, stdout=subprocess.PIPE)
    while not all(f"{network}-softmax top: epoch 3/" in log.read_text() for network in ("one", "two")):
        assert command.poll() is None, log.read_text()
        time.sleep(0.05)
    processes = children(command.pid)
    assert len(trial_workers(command.pid)) == 2
    command.send_signal(end)
    command.communicate(timeout=120)
    assert command.returncode == (ExitCode.INTERRUPTED if end == signal.SIGINT else -end), log.read_text()
    assert "Traceback" not in log.read_text()
    deadline = time.monotonic() + 60
    while any(_runs(pid) for pid in processes):
        assert time.monotonic() < deadline, "a process outlived its command"
        time.sleep(0.1)
    files = [path.name for path in sweep.workspace.folder("runs").rglob("*") if path.is_file()]
    left = [name for name in files if not name.endswith(".part")]  # a worker may have been killed as it wrote one
    assert left == ["checkpoint.npz"] * 2


def _runs(pid: int) -> bool:
    """Whether it does; one that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    ("waiting", "running", "place"), [([0, 1, 2, 3], [], 0), ([1, 2, 3], [0], 2), ([1], [0], 1), ([1, 3], [0, 2], 1)]
)
def test_next_place_prefers_a_network_that_none_trains(waiting: list[int], running: list[int], place: int) -> None:
    assert next_place(waiting, ["a", "a", "b", "b"], running) == place
