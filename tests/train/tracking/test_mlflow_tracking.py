"""MLflow as it is: a server on loopback, one that is down, and the file in the workspace."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from toolkit.artifacts.model import Epoch, Evaluation, TrainedModel
from toolkit.errors import MachineError
from toolkit.experiment.load import load_experiment
from toolkit.experiment.training_schema import Trial
from toolkit.progress import Silent
from toolkit.train import SweepOptions
from toolkit.train.tracking.base import NullTracker, tracker_for
from toolkit.workspace import Workspace

if TYPE_CHECKING:
    from conftest import Bench, Sweep

START_S = 240.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    argv = ["--host", "127.0.0.1", "--port", address.rpartition(":")[2], "--workers", "1"]
    argv += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "files")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *argv],
            stdout=log,
            stderr=log,
            cwd=folder,
            env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            start_new_session=True,
        )
    try:
        _wait_for(f"http://{address}/health", process, folder / "log")
        yield f"http://{address}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.3)


@pytest.fixture
def trial(bench: Bench) -> Trial:
    return next(load_experiment(bench.file).trials())


@pytest.fixture
def model(workspace: Workspace, request: pytest.FixtureRequest) -> TrainedModel:
    """A finished stage as the workspace holds it; each test's is a run of its own."""
    folder = workspace.folder("runs", "tiny-1", "tiny-softmax", "top")
    (folder / "evaluation.json").write_text("{}")
    (folder / "model.keras").write_bytes(b"large")
    epochs = [
        Epoch(
            stage="top",
            number=number,
            loss=1 / number,
            accuracy=0.5,
            val_loss=1.0,
            val_accuracy=0.5,
            seconds=2.0,
            learning_rate=0.01,
        )
        for number in (1, 2, 3)
    ]
    judged = Evaluation(
        subset="test",
        images=4,
        loss=0.5,
        accuracy=0.75,
        interval=(0.3, 0.95),
        top5=None,
        classes=(),
        confusion=((2, 0), (1, 1)),
        predictions=(0, 0, 0, 1),
    )
    return TrainedModel(
        digest="d" * 64,
        parent="5" * 64,
        run=request.node.name,
        experiment="tiny",
        network="tiny",
        head="softmax",
        stage="top",
        weights="none",
        note="synthetic masks",
        labels=("blue", "red"),
        input_size=(32, 32),
        crop="resize",
        scaling="x",
        path=workspace.relative(folder / "model.keras"),
        parameters=1,
        history=tuple(epochs),
        evaluation=judged,
        seconds=6.0,
        versions={"toolkit": "0"},
    )


def runs_of(address: str, run: str) -> list[Any]:
    import mlflow

    client = mlflow.MlflowClient(address)
    result = client.get_experiment_by_name("tiny")
    return list(client.search_runs([result.experiment_id], f"tags.`toolkit.run` = '{run}'")) if result else []


def steps_of(address: str, identity: str, key: str) -> list[int]:
    import mlflow

    return [metric.step for metric in mlflow.MlflowClient(address).get_metric_history(identity, key)]


@pytest.mark.sweeps
@pytest.mark.timeout(600)
def test_a_run_and_its_resumption_are_one_run_in_mlflow(
    server: str, bench: Bench, workspace: Workspace, trial: Trial, model: TrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    experiment, progress = load_experiment(bench.file), Silent()
    with tracker_for(experiment, workspace, progress, enabled=None) as stopped:
        for epoch in model.history[:2]:
            stopped.epoch(trial, model.run, epoch)
    (run,) = runs_of(server, model.run)
    assert run.info.status == "KILLED"
    for _ in range(2):  # resumed, and then found finished
        with tracker_for(experiment, workspace, progress, enabled=None) as resumed:
            resumed.stage(trial, model)
    assert [line for line in progress.messages if "warning" in line] == []
    (run,) = runs_of(server, model.run)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "tiny-softmax top")
    assert run.data.tags["toolkit.model"] == model.digest
    assert run.data.tags["toolkit.split"] == model.parent
    assert run.data.tags["mlflow.note.content"] == "synthetic masks"
    assert run.data.params["stage.learning_rate"] == "0.01"
    assert run.data.params["network"] == "tiny"
    assert run.data.metrics["test/accuracy"] == 0.75
    for key in ("loss", "val_accuracy", "learning_rate"):
        assert steps_of(server, run.info.run_id, key) == [1, 2, 3]
    files = [file.path for file in mlflow.MlflowClient(server).list_artifacts(run.info.run_id)]
    assert files == ["evaluation.json"]  # the model stays where it is, found by toolkit.model_path


@pytest.mark.sweeps
@pytest.mark.timeout(600)
def test_tracker_warns_once_and_sends_later_when_server_is_down(
    server: str, bench: Bench, workspace: Workspace, trial: Trial, model: TrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    progress = Silent()
    with tracker_for(load_experiment(bench.file), workspace, progress, enabled=None) as tracker:
        for epoch in model.history:
            tracker.epoch(trial, model.run, epoch)
        tracker.stage(trial, model)
    (warning,) = (line for line in progress.messages if "warning" in line)
    assert "run the same command again" in warning
    assert "secret" not in "".join(progress.messages)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    with tracker_for(load_experiment(bench.file), workspace, progress, enabled=None) as tracker:
        tracker.stage(trial, model)
    (run,) = runs_of(server, model.run)
    assert steps_of(server, run.info.run_id, "loss") == [1, 2, 3]


@pytest.mark.sweeps
@pytest.mark.timeout(900)
def test_all_models_are_in_workspace_mlflow_when_tracked(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for _ in range(2):
        progress = Silent()
        sweep_result = sweep.train(progress, sweep_options=SweepOptions(track=True, jobs=1))
        assert [line for line in progress.messages if "MLflow could not be told" in line] == []
    address = f"sqlite:///{sweep.workspace.root.absolute() / 'mlflow.db'}"
    assert len({model.run for model in sweep_result.models}) == 2
    for model in sweep_result.models:
        (run,) = (each for each in runs_of(address, model.run) if each.data.tags["toolkit.stage"] == model.stage)
        assert run.data.tags["toolkit.model"] == model.digest
        assert steps_of(address, run.info.run_id, "loss") == [epoch.number for epoch in model.history]
        assert run.data.metrics["test/loss"] == pytest.approx(model.evaluation.loss)


def test_tracker_for_is_nobody_when_nothing_asks_for_it(
    bench: Bench, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with tracker_for(load_experiment(bench.file), workspace, Silent(), enabled=None) as tracker:
        assert isinstance(tracker, NullTracker)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with tracker_for(load_experiment(bench.file), workspace, Silent(), enabled=False) as tracker:
        assert isinstance(tracker, NullTracker)


def test_tracker_for_says_what_to_install_when_mlflow_is_missing(
    bench: Bench, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toolkit.train.tracking.base.find_spec", lambda name: None)
    with (
        pytest.raises(MachineError, match="MLflow is not installed"),
        tracker_for(load_experiment(bench.file), workspace, Silent(), enabled=True),
    ):
        pass
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    progress = Silent()
    with tracker_for(load_experiment(bench.file), workspace, progress, enabled=None):
        assert "edge-vision-toolkit[tracking]" in progress.messages[0]
