"""Which captures are worth labeling: those that the model is unsure of, or a random sample.

`just bench policies`: needs Debian's package dataset-fashion-mnist. Nine articles are taught
well and one, the sandal, by two images, as in `just bench loop`. In each round a camera shows new frames, the policy of the live app
chooses among them, 20 of its captures are labeled and the head is trained again on cached features. The yardstick is the
number of labels that the other policy needs for the same accuracy.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from accuracy_data import FASHION_MNIST, Pools, read_pools
from loop import HARD, TAUGHT_HARD
from scores import Score, conclude

from toolkit import networks
from toolkit.device.app.captures.capture_settings import CaptureLimits, CaptureSettings
from toolkit.device.app.captures.policies import CapturePolicy
from toolkit.device.app.pipeline.messages import Classification, Frame
from toolkit.device.capture_record import RANDOM, UNSURE
from toolkit.progress import Silent
from toolkit.train.backbone import OpenVinoBackbone
from toolkit.train.fitting import logistic
from toolkit.train.metrics.multiclass import cross_entropy, probabilities
from toolkit.workspace import Workspace

EDGE, POOL, TAUGHT, VALIDATION = 64, 450, 100, 20
"""Image size in pixels; images of each class to learn from or to show, to learn from at first, to validate on."""
STRENGTHS = (0.1, 0.03, 0.01)
"""Of the regularization."""
SEEDS, ROUNDS, LABELS, FRAMES = 5, 5, 20, 600
SHARES = {"rare": 0.02, "common": 0.1}
"""The share of sandals among the frames: one in fifty, and as many as of any other article."""
GOAL = 2.0
METHOD = (
    "`just bench policies`: Fashion-MNIST, EfficientNet-Lite0 at 64 pixels, a linear head on cached features, regularized as is best on {validation} validation images of each class. The first model learned "
    "from {taught} images of nine classes and {hard} of sandals. In each of {rounds} rounds a camera shows {frames} frames, a policy of "
    "the live app (default settings, no cool-down) captures some, the first {labels} are labeled and the head is trained again. rare: "
    "one frame in fifty is a sandal; common: one in ten, as of any other article. Ours is the number of labels, in steps of {labels}, after which "
    "`unsure` reaches the accuracy that `random` has after {most}; the goal is half as many. Accuracy: the median of {seeds} "
    "seeds on {tested} test images of ten classes: {curves}."
)


@dataclass(frozen=True)
class Features:
    """Features f32 [n, channels] and labels [n] of the pool, of validation and of test images."""

    pool: np.ndarray
    labels: np.ndarray
    validation: np.ndarray
    validation_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray
    names: tuple[str, ...]


def read_images(fashion_mnist: Path) -> Pools:
    """Read the images of each subset by class."""
    with tempfile.TemporaryDirectory(prefix="policies-") as folder:
        return read_pools("fashion-mnist", Workspace(Path(folder)), fashion_mnist)


def frozen_network(classes: int) -> OpenVinoBackbone:
    """Return the network whose features the heads learn from."""
    networks.start_tensorflow()
    model = networks.assemble(
        networks.find_network("efficientnet_lite0"),
        networks.find_head("softmax", classes),
        size=(EDGE, EDGE),
        classes=classes,
        hidden=(),
        weights="imagenet",
        progress=Silent(),
    )
    return OpenVinoBackbone(networks.features_part(model))


def enlarged(images: Iterable[np.ndarray]) -> np.ndarray:
    """Return gray images as the network takes them, u8 [n, EDGE, EDGE, 3]."""
    large = (cv2.resize(image, (EDGE, EDGE), interpolation=cv2.INTER_CUBIC) for image in images)
    return np.stack([cv2.cvtColor(image, cv2.COLOR_GRAY2RGB) for image in large])


def compute_features(pools: Pools, network: OpenVinoBackbone) -> Features:
    """Run each image through the frozen network once."""
    names = tuple(sorted(pools["train"]))

    def part(subset: str, start: int, most: int) -> tuple[np.ndarray, np.ndarray]:
        images = [(n, image) for n, name in enumerate(names) for image in pools[subset][name][start : start + most]]
        return network.features(enlarged(image for _, image in images)), np.array([number for number, _ in images])

    return Features(*part("train", 0, POOL), *part("train", POOL, VALIDATION), *part("test", 0, POOL), names)


def fit(data: Features, rows: Sequence[int]) -> logistic.LinearModel:
    """Train the head on some images of the pool, regularized as is best on the validation images."""
    targets = np.eye(len(data.names), dtype=np.float32)[data.labels[rows]]
    models = logistic.fit(data.pool[rows], targets, np.ones(len(rows), np.float32), STRENGTHS)
    return min(models, key=lambda model: cross_entropy(model.logits(data.validation), data.validation_labels))


def first_images(data: Features, draw: np.random.Generator) -> list[int]:
    """Return the images of the first model."""
    taught = [TAUGHT_HARD if name == HARD else TAUGHT for name in data.names]
    rows = [draw.choice(np.flatnonzero(data.labels == n), count, replace=False) for n, count in enumerate(taught)]
    return [int(row) for row in np.concatenate(rows)]


def shown_frames(data: Features, learned: Sequence[int], share: float, draw: np.random.Generator) -> list[list[int]]:
    """Return the frames of each round, none of them twice; `share` of them are sandals."""
    rest = draw.permutation(np.setdiff1d(np.arange(len(data.labels)), learned))
    hard = data.labels[rest] == data.names.index(HARD)
    sandals = round(share * FRAMES)
    rounds = []
    for number in range(ROUNDS):
        part = (
            rest[hard][number * sandals :][:sandals],
            rest[~hard][number * (FRAMES - sandals) :][: FRAMES - sandals],
        )
        rounds.append([int(row) for row in draw.permutation(np.concatenate(part))])
        if len(rounds[-1]) != FRAMES:
            raise SystemExit("there are too few images for so many frames")
    return rounds


def captured(data: Features, frames: Sequence[int], model: logistic.LinearModel, policy: CapturePolicy) -> list[int]:
    """Return the frames that the policy captures."""
    answers = probabilities(model.logits(data.pool[frames]))
    chosen = []
    for row, answer in zip(frames, answers, strict=True):
        ranking = sorted(zip(data.names, map(float, answer), strict=True), key=lambda pair: -pair[1])
        if policy.choose(Classification(Frame(row, 0), ranking, None, "", 0.0)):
            chosen.append(row)
    return chosen


def accuracies(data: Features, name: str, share: float, seed: int) -> list[float]:
    """Return the accuracy of the first model and after each round; after the last one only, if no model chooses."""
    draw = np.random.default_rng(seed)
    learned = first_images(data, draw)
    limits = CaptureLimits(cool_down_s=0, random_every=FRAMES // LABELS // 2)
    policy = CapturePolicy(CaptureSettings(Path("/nowhere"), limits, (name,)), seed=seed)
    model = fit(data, learned)
    curve = [accuracy(data, model)]
    for number, frames in enumerate(shown_frames(data, learned, share, draw), start=1):
        learned += captured(data, frames, model, policy)[:LABELS]
        if name == UNSURE or number == ROUNDS:
            model = fit(data, learned)
            curve.append(accuracy(data, model))
    return curve


def accuracy(data: Features, model: logistic.LinearModel) -> float:
    """Return the share of the test images that a head gets right."""
    return float(np.mean(model.logits(data.test).argmax(axis=1) == data.test_labels))


def compare(data: Features, kind: str) -> tuple[Score, str]:
    """Return the labels that `unsure` needs against those of `random`, and both curves for people."""
    curves = {
        name: [
            statistics.median(each)
            for each in zip(*(accuracies(data, name, SHARES[kind], seed) for seed in range(SEEDS)), strict=True)
        ]
        for name in (RANDOM, UNSURE)
    }
    most, reached = LABELS * ROUNDS, curves[RANDOM][-1]
    needed = next((LABELS * number for number, each in enumerate(curves[UNSURE]) if each >= reached), None)
    texts = [f"{name} {', '.join(f'{value:.1%}' for value in curve)}" for name, curve in curves.items()]
    score = Score(
        f"policies.{kind}",
        most / max(needed, 1) if needed is not None else 0.0,
        GOAL,
        f"{needed} labels" if needed is not None else f"not within {most} labels",
        f"{most} labels ({reached:.1%})",
    )
    return score, f"{kind}: {'; '.join(texts)}"


def main() -> int:
    """Compare both policies on both streams."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--fashion-mnist", type=Path, default=FASHION_MNIST, help="folder with the four idx files")
    options.add_argument("--dry", action="store_true", help="do not write docs/performance.md")
    chosen = options.parse_args()
    pools = read_images(chosen.fashion_mnist)
    data = compute_features(pools, frozen_network(len(pools["train"])))
    scores, curves = zip(*(compare(data, kind) for kind in SHARES), strict=True)
    method = METHOD.format(
        taught=TAUGHT,
        validation=VALIDATION,
        hard=TAUGHT_HARD,
        rounds=ROUNDS,
        frames=FRAMES,
        labels=LABELS,
        most=LABELS * ROUNDS,
        seeds=SEEDS,
        tested=len(data.test_labels),
        curves="; ".join(curves),
    )
    print(method)
    return conclude("policies", "Captures that are worth labeling", method, scores, keep=not chosen.dry)


if __name__ == "__main__":
    sys.exit(main())
