"""Drift of a camera on real images: how soon a change is raised, and how often an alarm is false.

`just bench drift`: needs Debian's package dataset-fashion-mnist. A head on EfficientNet-Lite0's features learned nine articles.
The camera shows other images of these, drawn at random; then the lens is out of focus, or the light dimmer, or the camera was moved, or it
shows sandals, which the model has never seen. Everything is counted in frames.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from accuracy_data import FASHION_MNIST
from loop import HARD
from policies import TAUGHT, compute_features, enlarged, fit, frozen_network, read_images
from scores import Score, conclude

from toolkit.convert.training_embedding import describe_images
from toolkit.device.app.drift.detector import RAISED, DriftDetector
from toolkit.device.app.drift.drift_settings import CONFIDENCE, DISTANCE, DriftNumbers, DriftSettings
from toolkit.device.app.drift.embedding import TrainingDistance
from toolkit.device.app.drift.image_signals import image_signals
from toolkit.train.metrics.multiclass import probabilities

STEADY, CHANGED = 200, 300
"""Images of each class that the unchanged camera shows; images of each change."""
BLUR, LIGHT, MOVED = 2.0, 0.6, 12
"""Standard deviation of the blur in pixels of 64; the share of the light that is left; by how many pixels the scene is
elsewhere."""
SEEDS, SOON, FRAMES, RATE = 5, 200, 20_000, 10_000
"""Runs; frames within which a change is to be raised; frames without a change in each run; frames per false alarm."""
OFFSET = 20
"""Frames of the running block that a change finds."""
METHOD = (
    "`just bench drift`: Fashion-MNIST, EfficientNet-Lite0 at 64 pixels with a linear head that learned nine classes. Frames are drawn at "
    "random from {steady} images; all six signals, of which the distance is that from the {training} images that the head learned from; a reference of {blocks} blocks of {block} frames, and a limit of one false alarm in "
    "{rate:,} frames. blur: a Gaussian of {blur} pixels; light: {light:.0%} of it is left; moved: by {moved} pixels of 64; new class: nothing but sandals, which the model has "
    "never seen. Ours is the most frames of {seeds} seeds from the change to the first alarm; in brackets the signals that raised it. false "
    "alarms: those in {frames:,} frames without a change."
)
Frame = tuple[dict[str, float], str]
"""The signals of a frame, and the class that the model answers."""


def frames_of(images: np.ndarray, names: Sequence[str], logits: np.ndarray, training: TrainingDistance) -> list[Frame]:
    """Return what drift detection sees of each image."""
    answers = probabilities(logits)
    return [
        (
            {**image_signals(image), DISTANCE: training.measure(image), CONFIDENCE: float(answer.max())},
            names[int(answer.argmax())],
        )
        for image, answer in zip(images, answers, strict=True)
    ]


def prepare(fashion_mnist: Path) -> dict[str, list[Frame]]:
    """Return the frames of the unchanged camera and of each change."""
    pools = read_images(fashion_mnist)
    network = frozen_network(len(pools["train"]))
    data = compute_features(pools, network)
    taught = [number for number, name in enumerate(data.names) if name != HARD]
    head = fit(data, [int(row) for number in taught for row in np.flatnonzero(data.labels == number)[:TAUGHT]])
    steady = enlarged(
        image for name in pools["train"] if name != HARD for image in pools["train"][name][TAUGHT : TAUGHT + STEADY]
    )
    some = steady[:: len(steady) // CHANGED]
    shown = {
        "steady": steady,
        "blur": np.stack([cv2.GaussianBlur(image, (0, 0), BLUR) for image in some]),
        "light": (some * LIGHT).astype(np.uint8),
        "moved": np.roll(some, MOVED, axis=2),
        "new class": enlarged(pools["train"][HARD][:CHANGED]),
    }
    taught_images = enlarged(
        image for name in pools["train"] if name != HARD for image in pools["train"][name][:TAUGHT]
    )
    training = TrainingDistance(describe_images(taught_images))
    return {
        kind: frames_of(images, data.names, head.logits(network.features(images)), training)
        for kind, images in shown.items()
    }


def drawn(frames: Sequence[Frame], seed: int) -> Iterator[Frame]:
    """Yield frames at random, for ever."""
    draw = random.Random(seed)
    while True:
        yield draw.choice(frames)


def learned(camera: Iterator[Frame]) -> DriftDetector:
    """Return a detector that has its reference, within a block."""
    numbers = DriftNumbers(reference_hours=0, frames_per_false_alarm=RATE)
    watching = DriftDetector(DriftSettings(Path("/nowhere"), numbers))
    while watching.learned < 1:
        watching.add(*next(camera))
    for _ in range(OFFSET):
        watching.add(*next(camera))
    return watching


def false_alarms(frames: Sequence[Frame], seed: int) -> int:
    """Count the alarms without a change."""
    camera = drawn(frames, seed)
    watching = learned(camera)
    return sum(event == RAISED for _ in range(FRAMES) for _, event in watching.add(*next(camera)))


def first_alarm(steady: Sequence[Frame], changed: Sequence[Frame], seed: int) -> tuple[int, list[str]]:
    """Return the frames from a change to the first alarm, and the signals that raise it; ten times SOON if none does."""
    watching, camera = learned(drawn(steady, seed)), drawn(changed, seed)
    for number in range(1, 10 * SOON):
        if raised := [signal for signal, event in watching.add(*next(camera)) if event == RAISED]:
            return number, raised
    return 10 * SOON, []


def main() -> int:
    """Measure, print, write the table."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--fashion-mnist", type=Path, default=FASHION_MNIST, help="folder with the four idx files")
    options.add_argument("--dry", action="store_true", help="do not write docs/performance.md")
    chosen = options.parse_args()
    frames = prepare(chosen.fashion_mnist)
    scores = []
    for kind in ("blur", "light", "moved", "new class"):
        alarms = [first_alarm(frames["steady"], frames[kind], seed) for seed in range(SEEDS)]
        slowest = max(number for number, _ in alarms)
        signals = ", ".join(sorted({signal for _, raised in alarms for signal in raised})) or "none"
        scores.append(Score(f"drift.{kind}", SOON / slowest, 1, f"{slowest} frames ({signals})", f"{SOON} frames"))
    total, allowed = sum(false_alarms(frames["steady"], seed) for seed in range(SEEDS)), SEEDS * FRAMES // RATE
    scores.append(Score("drift.false alarms", allowed / max(total, 1), 1, f"{total}", f"{allowed}"))
    numbers = DriftNumbers()
    method = METHOD.format(
        steady=len(frames["steady"]),
        blocks=numbers.reference_blocks,
        block=numbers.block_frames,
        rate=RATE,
        training=TAUGHT * 9,
        moved=MOVED,
        blur=BLUR,
        light=LIGHT,
        seeds=SEEDS,
        frames=SEEDS * FRAMES,
    )
    print(method)
    return conclude("drift", "Drift of a camera", method, scores, keep=not chosen.dry)


if __name__ == "__main__":
    sys.exit(main())
