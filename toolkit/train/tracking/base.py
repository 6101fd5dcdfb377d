"""Experiment tracking: interface, and the null implementation; see `mlflow_tracking` for the other."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Protocol

from toolkit.artifacts.model import Epoch, TrainedModel
from toolkit.errors import MachineError
from toolkit.experiment.schema import Experiment
from toolkit.experiment.training_schema import Trial
from toolkit.progress import Progress
from toolkit.workspace import Workspace


class Tracker(Protocol):
    """Receives epochs and finished stages; never blocks training."""

    def epoch(self, trial: Trial, run: str, epoch: Epoch) -> None:
        """An epoch of a run, while it trains."""

    def stage(self, trial: Trial, model: TrainedModel) -> None:
        """Report a finished stage in full, whether just finished or loaded; nothing is reported twice."""

    def close(self) -> None:
        """End tracking; stages that have not ended were interrupted."""


class NullTracker:
    """Tracks nothing."""

    def epoch(self, trial: Trial, run: str, epoch: Epoch) -> None:
        """Nothing to do."""

    def stage(self, trial: Trial, model: TrainedModel) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""


@contextmanager
def tracker_for(
    experiment: Experiment, workspace: Workspace, progress: Progress, *, enabled: bool | None
) -> Iterator[Tracker]:
    """Return the tracker: MLflow if requested, or by default if MLFLOW_TRACKING_URI is set; else none.

    Raises:
        MachineError: it is requested and not installed.
    """
    tracker = _choose(experiment, workspace, progress, enabled=enabled)
    try:
        yield tracker
    finally:
        tracker.close()


def _choose(experiment: Experiment, workspace: Workspace, progress: Progress, *, enabled: bool | None) -> Tracker:
    configured = bool(os.environ.get("MLFLOW_TRACKING_URI"))
    if not (configured if enabled is None else enabled):
        return NullTracker()
    if find_spec("mlflow") is None:
        remedy = 'pip install "edge-vision-toolkit[tracking]", or use --no-track'
        if enabled:
            raise MachineError("MLflow is not installed", where="--track", remedy=remedy)
        progress.log(
            f"warning: MLFLOW_TRACKING_URI is set, and MLflow is not installed: nothing is tracked\n  → {remedy}"
        )
        return NullTracker()
    from toolkit.train.tracking.mlflow_tracking import MlflowTracker

    return MlflowTracker(experiment, workspace, progress)
