"""The worst misclassified images: the most confident errors of each model.

Every image is embedded once, as a small JPEG, however many models mistook it. Where the images are no longer there,
or none was mistaken, there is nothing to show.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.artifacts.model import TrainedModel
from toolkit.data import Image
from toolkit.data.decoding import DecodingError, decode_within
from toolkit.report import formatting
from toolkit.report.data.load import ReportData

EACH, MOST = 8, 60
"""Mistakes shown of each model, and images embedded in all."""
EDGE = 88
"""Pixels of the longer side."""
QUALITY = 70


@dataclass(frozen=True, slots=True)
class Mistake:
    """One misclassified image; `confidence` is the probability of the predicted class."""

    image: str
    truth: str
    answer: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Worst:
    """The worst errors of one model, most confident first."""

    title: str
    total: int
    mistakes: tuple[Mistake, ...]


@dataclass(frozen=True, slots=True)
class Contact:
    """All models' worst mistakes and, by the name that they are called by, their images as data URIs."""

    models: tuple[Worst, ...]
    images: dict[str, str]


def contact(report: ReportData) -> Contact:
    """The sheet of every model that made mistakes, as far as the images can still be read."""
    images: dict[str, str] = {}
    sheets = []
    for model in report.models:
        tests = report.tests.get(model.parent, ())
        wrong = worst(model, report.truth.get(model.parent, ()))
        shown = tuple(filter(None, (_mistake(model, tests[n], n, images) for n in wrong[:EACH])))
        if shown:
            sheets.append(Worst(formatting.model(model), len(wrong), shown))
    return Contact(tuple(sheets), images)


def worst(model: TrainedModel, truth: Sequence[int]) -> list[int]:
    """The numbers of the wrongly named test images, the surest mistake first; none where labels are many."""
    answer = model.evaluation.predictions
    if model.evaluation.multilabel or not len(answer) == len(truth) == len(model.evaluation.probabilities):
        return []
    wrong = [n for n, label in enumerate(truth) if answer[n] != label]
    return sorted(wrong, key=lambda n: (-probability(model, n, answer[n]), n))


def probability(model: TrainedModel, image: int, label: int) -> float:
    """Return the probability of a class for a test image; with two classes, only the second's is stored."""
    shares = model.evaluation.probabilities[image]
    if len(shares) == 1 and len(model.labels) == 2:
        return shares[0] if label == 1 else 1 - shares[0]
    return shares[label]


def _mistake(model: TrainedModel, image: Image, number: int, images: dict[str, str]) -> Mistake | None:
    name = f"image-{image.sha256[:12]}"
    if name not in images and len(images) < MOST and (drawn := thumbnail(image)):
        images[name] = drawn
    if name not in images:
        return None
    answer = model.evaluation.predictions[number]
    return Mistake(name, model.labels[image.label], model.labels[answer], probability(model, number, answer))


def thumbnail(image: Image, edge: int = EDGE) -> str:
    """A JPEG of at most `edge` pixels a side as a data URI; empty where the image cannot be read any more."""
    import cv2

    try:
        pixels = decode_within(image.path.read_bytes(), edge)
    except (OSError, DecodingError):
        return ""
    _, encoded = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return f"data:image/jpeg;base64,{base64.b64encode(encoded.tobytes()).decode()}"
