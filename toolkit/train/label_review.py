"""Find doubtful labels of a data set: those that a linear model on frozen features, trained without the image, contradicts.

The backbone has its initial weights, so the features do not depend on the labels. A logistic regression is fitted five
times, each time without a fifth of the images, and predicts these. The further the probability of an image's label is below
that of the best other label, the more doubtful it is (Northcutt et al., Confident Learning, JAIR 2021).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from toolkit import data
from toolkit.artifacts.dataset import Split
from toolkit.errors import ConfigurationError
from toolkit.experiment.schema import Experiment
from toolkit.progress import Progress
from toolkit.train.features import frozen_features
from toolkit.train.fitting import logistic
from toolkit.train.metrics import dispatch
from toolkit.train.misclassified import MOST_DRAWN, draw_sheet
from toolkit.train.trial_context import load_subsets, prepare_trial, starting_model
from toolkit.workspace import Workspace

FOLDS = 5
COLUMNS = ("image", "subset", "label", "suggestion", "probability_of_label", "probability_of_suggestion")


@dataclass(frozen=True, slots=True)
class DoubtfulLabel:
    """An image whose label another one seems to fit better."""

    image: Path
    subset: str
    label: str
    suggestion: str
    probability_of_label: float
    probability_of_suggestion: float


def review_labels(
    experiment: Experiment, split: Split, workspace: Workspace, progress: Progress, *, limit: int, sheet: Path
) -> tuple[DoubtfulLabel, ...]:
    """The most doubtful labels first, at most `limit`; they are drawn into `sheet`, a PNG file.

    The features are those of the experiment's first network.

    Raises:
        ConfigurationError: images have several labels, or the network starts from random weights.
    """
    if split.multi_label:
        raise ConfigurationError("labels can be reviewed where each image has one", where=split.name)
    trial = next(experiment.trials())
    if trial.weights == "none":
        raise ConfigurationError(
            "features of random weights carry no information about labels",
            where=f"networks.{trial.network}.weights",
            remedy="name a network with ImageNet weights first in matrix.networks",
        )
    context = prepare_trial(experiment, trial, split, workspace, progress)
    subsets = load_subsets(context)
    features = frozen_features(context, starting_model(context, None), subsets)
    labels = np.concatenate([subsets[name].examples.labels for name in data.SUBSETS])
    shares = out_of_fold(np.concatenate([features[name].inputs for name in data.SUBSETS]), labels)
    order = doubtful(labels, shares)[:limit]
    listed = data.read_manifest(split, workspace)
    images = [image for name in data.SUBSETS for image in listed if image.subset == name]
    places = [(name, row) for name in data.SUBSETS for row in range(len(subsets[name].examples.labels))]
    pixels = [subsets[name].examples.inputs[row] for name, row in (places[index] for index in order[:MOST_DRAWN])]
    result = tuple(_entry(images[index], shares[index], split.labels) for index in order)
    draw_sheet(pixels, [(f"is {one.label}", f"rather {one.suggestion}?") for one in result], sheet)
    return result


def out_of_fold(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Probabilities [n, classes] of images that the model which gives them has not seen.

    The strength of the regularization is the one with the lowest loss on unseen images.
    """
    classes = int(labels.max()) + 1
    folds = _folds(labels)
    logits = np.zeros((len(logistic.STRENGTHS), len(labels), classes), np.float32)
    for fold in range(FOLDS):
        seen = folds != fold
        targets = np.eye(classes, dtype=np.float32)[labels[seen]]
        models = logistic.fit(features[seen], targets, np.ones(int(seen.sum()), np.float32))
        for number, model in enumerate(models):
            logits[number, ~seen] = model.logits(features[~seen])
    best = min(logits, key=lambda table: dispatch.cross_entropy(table, labels))
    return dispatch.probabilities(best, multi_label=False)


def doubtful(labels: np.ndarray, shares: np.ndarray) -> list[int]:
    """Indices of images that another label fits better, the most doubtful first."""
    own = shares[np.arange(len(labels)), labels]
    gap = _without_own(labels, shares).max(axis=1) - own
    order = np.argsort(-gap, kind="stable")
    return [int(index) for index in order if gap[index] > 0]


def _without_own(labels: np.ndarray, shares: np.ndarray) -> np.ndarray:
    others = shares.copy()
    others[np.arange(len(labels)), labels] = -1
    return others


def _folds(labels: np.ndarray) -> np.ndarray:
    """A fold for each image; every class is spread over all of them."""
    shuffled = np.random.default_rng(0).permutation(len(labels))
    order = shuffled[np.argsort(labels[shuffled], kind="stable")]
    folds = np.empty(len(labels), int)
    folds[order] = np.arange(len(labels)) % FOLDS
    return folds


def _entry(image: data.Image, shares: np.ndarray, names: Sequence[str]) -> DoubtfulLabel:
    best = int(shares.argmax())
    return DoubtfulLabel(
        image=image.path,
        subset=image.subset,
        label=names[image.label],
        suggestion=names[best],
        probability_of_label=float(shares[image.label]),
        probability_of_suggestion=float(shares[best]),
    )
