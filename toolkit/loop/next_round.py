"""One round of the loop: collect, stop if there are too few new labels, retrain, propose a rollout.

How many labels matter is read from the learning curve that training recorded for the serving model: by the power law of its
error, as many as raise the accuracy by GAIN. Captures are chosen because the model is unsure of them, so they are worth
more than images like those that it has; the number is therefore on the safe side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from toolkit.artifacts.labeling import CLASS, Retraining
from toolkit.artifacts.model import SampleEfficiency, TrainedModel
from toolkit.experiment.schema import Experiment
from toolkit.loop.added_classes import with_added_classes
from toolkit.loop.decisions import standing_decisions
from toolkit.loop.retrain import retrain, serving_model
from toolkit.loop.versions import load_versions
from toolkit.progress import Progress
from toolkit.store import Store
from toolkit.workspace import Workspace

GAIN = 0.005
"""Half a point of accuracy."""
FEWEST, MOST = 20, 500
"""Labels that are asked for at least, and at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """How far a round came: without a retraining it waits for labels."""

    labels: int
    """Labels of captures that the serving model has not learned from."""
    needed: int
    reason: str
    """Why so many."""
    retraining: Retraining | None = None

    @property
    def waits(self) -> bool:
        """Whether people are to label more before anything is worth training."""
        return self.retraining is None


def next_round(
    plan: Experiment, workspace: Workspace, store: Store, progress: Progress, *, least: int | None = None
) -> Round:
    """Count the labels and retrain if there are enough: `least`, or as many as the learning curve says.

    Raises:
        ConfigurationError: nothing was trained for the experiment yet.
        ToolkitError: training or conversion failed.
    """
    serving = serving_model(plan, store)
    labels = new_labels(plan, serving, store)
    needed, reason = (least, "as requested") if least is not None else labels_needed(serving)
    if labels < needed:
        return Round(labels=labels, needed=needed, reason=reason)
    return Round(labels=labels, needed=needed, reason=reason, retraining=retrain(plan, workspace, store, progress))


def new_labels(plan: Experiment, serving: TrainedModel, store: Store) -> int:
    """Captures with a class of the experiment that the serving model has not learned from."""
    versions = [version for version in load_versions(store, plan.name) if version.split == serving.parent]
    learned = versions[-1].captures if versions else {}
    standing, classes = standing_decisions(store), with_added_classes(serving.labels, store, plan.name)
    return sum(
        one.verdict == CLASS and one.label in classes for digest, one in standing.items() if digest not in learned
    )


def labels_needed(model: TrainedModel) -> tuple[int, str]:
    """How many labels matter, and why."""
    if model.sample_efficiency is None:
        return FEWEST, "the serving model has no learning curve"
    per_class = _images_for(model.sample_efficiency, model.evaluation.images)
    if per_class is None:
        return MOST, f"by the learning curve, images like those it has no longer raise the accuracy by {GAIN:.1%}"
    number = min(max(math.ceil(per_class * len(model.labels)), FEWEST), MOST)
    return number, f"by the learning curve, enough for {GAIN:.1%} of accuracy"


def _images_for(curve: SampleEfficiency, tested: int) -> float | None:
    """Images of each class that lower the error by GAIN, by the power law through the curve's ends; None: no number does.

    The error of a point that has none counts as half an image, as in the report.
    """
    first, last = curve.points[0], curve.points[-1]
    start, end = (max(1 - point.accuracy, 0.5 / tested) for point in (first, last))
    if end >= start or end <= GAIN:
        return None
    slope = math.log(end / start) / math.log(last.per_class / first.per_class)
    return last.per_class * (math.pow((end - GAIN) / end, 1 / slope) - 1)
