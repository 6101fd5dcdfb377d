"""MLflow tracking: one MLflow run per stage of each trial, identified by the digest of the toolkit's run.

Without MLFLOW_TRACKING_URI, MLflow stores data in the workspace: mlflow.db (SQLite) and mlflow-artifacts/. The workspace
holds all data of a finished stage, so data that could not be sent is sent completely the next time.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from toolkit.artifacts.model import Epoch, Evaluation, TrainedModel
from toolkit.experiment.schema import Experiment
from toolkit.experiment.training_schema import Trial
from toolkit.progress import Progress
from toolkit.workspace import Workspace

COMPLETE = "toolkit.complete"
"""Tag of a completely reported stage; its value is the model's digest."""
_PATIENCE = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
"""Timeouts: an unreachable server delays training by seconds instead of minutes; the user's settings take precedence."""
_MOST_AT_ONCE = 900


class MlflowTracker:
    """A `Tracker`. After a failure and a warning, epochs are sent at the end of their stage."""

    def __init__(self, experiment: Experiment, workspace: Workspace, progress: Progress) -> None:
        self._name, self._workspace, self._progress = experiment.name, workspace, progress
        self._client, self._artifacts, place = _connect(workspace)
        self._experiment_id: str | None = None
        self._open: dict[tuple[str, str], str] = {}
        self._down = False
        progress.log(f"tracking: MLflow at {_without_secrets(place)}, experiment {self._name}")

    def epoch(self, trial: Trial, run: str, epoch: Epoch) -> None:
        """Send the epoch's metrics; if that fails, they are sent with the stage."""
        if not self._down:
            self._try(lambda: self._send(self._find(trial, run, epoch.stage), _of_epoch(epoch)))

    def stage(self, trial: Trial, model: TrainedModel) -> None:
        """Send everything that MLflow lacks."""
        self._try(lambda: self._complete(trial, model))

    def close(self) -> None:
        """Mark open runs as killed."""
        for identity in self._open.values():
            self._try(lambda identity=identity: self._client.set_terminated(identity, "KILLED"))  # type: ignore[misc]

    def _try(self, log: Callable[[], None]) -> None:
        try:
            log()
            self._down = False
        except Exception as error:  # noqa: BLE001 - whatever ails a server is no reason to stop training
            if not self._down:
                reason = _without_secrets(str(error)).splitlines()[0]
                self._progress.log(
                    f"warning: cannot report to MLflow: {reason}\n"
                    "  → training continues; run the same command again to send what is missing"
                )
            self._down = True

    def _find(self, trial: Trial, run: str, stage: str) -> str:
        """Return the open MLflow run of a stage; create it if there is none."""
        if (run, stage) not in self._open:
            entry = self._search(run, stage)
            if entry is None:
                entry = self._create(trial, run, stage)
            elif entry.info.status != "RUNNING":
                self._client.update_run(entry.info.run_id, status="RUNNING")
            self._open[run, stage] = entry.info.run_id
        return self._open[run, stage]

    def _search(self, run: str, stage: str) -> Any:
        enabled = f"tags.`toolkit.run` = '{run}' AND tags.`toolkit.stage` = '{stage}'"
        return next(iter(self._client.search_runs([self._experiment()], enabled, max_results=1)), None)

    def _create(self, trial: Trial, run: str, stage: str) -> Any:
        from mlflow.entities import Param

        tags = {"toolkit.run": run, "toolkit.stage": stage}
        made = self._client.create_run(self._experiment(), tags=tags, run_name=f"{trial.name} {stage}")
        params = [Param(key, value) for key, value in settings(trial, stage).items()]
        self._client.log_batch(made.info.run_id, params=params)
        return made

    def _experiment(self) -> str:
        if self._experiment_id is None:
            experiment = self._client.get_experiment_by_name(self._name)
            made = (
                experiment.experiment_id if experiment else self._client.create_experiment(self._name, self._artifacts)
            )
            self._experiment_id = str(made)
        return self._experiment_id

    def _complete(self, trial: Trial, model: TrainedModel) -> None:
        from mlflow.entities import RunTag

        entry = self._search(model.run, model.stage)
        if entry is not None and entry.data.tags.get(COMPLETE) == model.digest:
            return
        identity = self._find(trial, model.run, model.stage)
        known = {metric.step for metric in self._client.get_metric_history(identity, "val_loss")}
        missing = [epoch for epoch in model.history if epoch.number not in known]
        figures = [figure for epoch in missing for figure in _of_epoch(epoch)]
        self._send(identity, [*figures, *_of_evaluation(model.evaluation, len(model.history))])
        folder = self._workspace.absolute(model.path).parent
        for file in sorted(path for path in folder.iterdir() if path.suffix in {".json", ".png"}):
            self._client.log_artifact(identity, str(file))
        tags = [RunTag(key, value) for key, value in _tags(model).items()]
        self._client.log_batch(identity, tags=[*tags, RunTag(COMPLETE, model.digest)])
        self._client.set_terminated(identity, "FINISHED")
        del self._open[model.run, model.stage]

    def _send(self, identity: str, figures: Sequence[tuple[str, float, int]]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(_key(name), value, now, step) for name, value, step in figures]
        for start in range(0, len(metrics), _MOST_AT_ONCE):
            self._client.log_batch(identity, metrics=metrics[start : start + _MOST_AT_ONCE])


def settings(trial: Trial, stage: str) -> Mapping[str, str]:
    """Return the settings of the stage as MLflow parameters."""
    params = trial.model_dump(mode="json")
    own = next(table for table in params.pop("stages") if table["name"] == stage)
    flat = {**params, **{f"stage.{key}": value for key, value in own.items()}}
    return {key: str(value) for key, value in flat.items() if value is not None}


def _connect(workspace: Workspace) -> tuple[Any, str | None, str]:
    """Return the client, the artifact location unless the server decides it, and a description of the server."""
    for name, value in _PATIENCE.items():
        os.environ.setdefault(name, value)
    import mlflow

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    place = os.environ.get("MLFLOW_TRACKING_URI", "")
    if place:
        return mlflow.MlflowClient(place), None, place
    place = f"sqlite:///{workspace.folder().absolute() / 'mlflow.db'}"
    return mlflow.MlflowClient(place), workspace.folder("mlflow-artifacts").absolute().as_uri(), place


def _of_epoch(epoch: Epoch) -> list[tuple[str, float, int]]:
    names = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds")
    return [(name, getattr(epoch, name), epoch.number) for name in names]


def _of_evaluation(judged: Evaluation, step: int) -> list[tuple[str, float, int]]:
    """Return the metrics of the saved model."""
    low, high = judged.interval
    figures = {"loss": judged.loss, "accuracy": judged.accuracy, "accuracy_low": low, "accuracy_high": high}
    figures |= {} if judged.top5 is None else {"top5": judged.top5}
    figures |= {} if judged.calibration is None else {"ece": judged.calibration.ece}
    figures |= {f"f1/{score.label}": score.f1 for score in judged.classes}
    if multi_label := judged.multilabel:
        figures |= {
            "hamming_loss": multi_label.hamming_loss,
            "f1_micro": multi_label.micro.f1,
            "f1_macro": multi_label.macro.f1,
        }
        areas = {"map": multi_label.mean_average_precision, "map_11_points": multi_label.mean_eleven_point}
        figures |= {name: area for name, area in areas.items() if area is not None}
    return [(f"{judged.subset}/{name}", value, step) for name, value in figures.items()]


def _tags(model: TrainedModel) -> Mapping[str, str]:
    """Return the tags: the digests that identify it in the workspace, and notes."""
    tags = {
        "toolkit.model": model.digest,
        "toolkit.model_path": model.path,
        "toolkit.split": model.parent,
        "toolkit.weights": model.weights,
        "mlflow.note.content": "\n\n".join([*([model.note] if model.note else []), *model.warnings]),
    }
    versions = {f"toolkit.version.{name}": version for name, version in model.versions.items()}
    return {key: value for key, value in {**tags, **versions}.items() if value}


def _key(name: str) -> str:
    """Return a name that MLflow accepts."""
    return re.sub(r"[^\w\-. /:]", "_", name)


def _without_secrets(text: str) -> str:
    """Remove passwords from URLs."""
    return re.sub(r"://[^/@\s]+@", "://…@", text)
