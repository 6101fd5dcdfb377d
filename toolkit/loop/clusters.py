"""Clusters of captures with similar features, so that one keystroke can label several.

The features are those that retraining computes, with the same backbone and in the same cache, so none is computed twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from toolkit import data
from toolkit.artifacts.captured_image import CapturedImage
from toolkit.artifacts.dataset import Split
from toolkit.captures import image_path
from toolkit.experiment.schema import Experiment
from toolkit.experiment.training_schema import Trial
from toolkit.progress import Progress
from toolkit.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np

MEAN_SIZE = 6
"""Captures per cluster, on average."""
_ROUNDS = 20


def cluster_captures(
    plan: Experiment,
    trial: Trial,
    split: Split,
    captures: Sequence[CapturedImage],
    workspace: Workspace,
    progress: Progress,
) -> dict[str, int]:
    """The cluster of each capture, a number, by its digest; none for fewer than two captures.

    Raises:
        DataError: with every image that is gone or damaged.
        MachineError: weights that are not here and cannot be fetched.
    """
    from toolkit.train.features import frozen_features
    from toolkit.train.fitting.loop import Examples
    from toolkit.train.trial_context import SubsetArrays, prepare_trial, starting_model

    if len(captures) < 2:
        return {}
    context = prepare_trial(plan, trial, split, workspace, progress, check=False)
    images = [data.Image(image_path(workspace, one.digest), one.digest, 0, "train") for one in captures]
    pixels = data.load_images(images, context.size, context.trial.crop, workspace=workspace, progress=progress)
    subset = SubsetArrays(Examples(pixels, data.label_array(images, 1)), tuple(one.digest for one in captures))
    features = frozen_features(context, starting_model(context, None), {"captured": subset})["captured"].inputs
    numbers = cluster(features, max(1, round(len(captures) / MEAN_SIZE)))
    return {one.digest: number for one, number in zip(captures, numbers, strict=True)}


def cluster(features: np.ndarray, clusters: int) -> list[int]:
    """The cluster of each row of f32 [n, channels]: spherical k-means from the rows furthest apart, always the same."""
    import numpy as np

    rows = np.asarray(features, np.float64)
    rows = rows - rows.mean(axis=0)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    centers = rows[:1]
    while len(centers) < min(clusters, len(rows)):
        nearest = (rows @ centers.T).max(axis=1)
        centers = np.vstack([centers, rows[nearest.argmin()]])
    numbers = (rows @ centers.T).argmax(axis=1)
    for _ in range(_ROUNDS):
        sums = np.zeros_like(centers)
        np.add.at(sums, numbers, rows)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        centers = np.where(lengths > 1e-12, sums / np.maximum(lengths, 1e-12), centers)
        moved = (rows @ centers.T).argmax(axis=1)
        if (moved == numbers).all():
            break
        numbers = moved
    return [int(number) for number in numbers]


def queue_order(captures: Sequence[CapturedImage], clusters: Mapping[str, int]) -> list[CapturedImage]:
    """The least sure first; captures of a cluster follow its first one."""
    by_score = sorted(captures, key=lambda one: (one.confidence if one.score is None else one.score, one.digest))
    first: dict[int | str, int] = {}
    for place, one in enumerate(by_score):
        first.setdefault(clusters.get(one.digest, one.digest), place)
    return sorted(by_score, key=lambda one: first[clusters.get(one.digest, one.digest)])
