"""Confidences of the devices on one image of each class.

The accuracy pass of a bench logs its answers to a few dozen images, drawn by the plan's seed, so they are the same for
every model and device. Of those, this takes the first of each class in the manifest's order; digests say which.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from toolkit.artifacts.bench import BenchRecord
from toolkit.data import Image
from toolkit.report.data.load import ReportData
from toolkit.report.data.variants import Variant


@dataclass(frozen=True, slots=True)
class SharedImage:
    """One image that every device classified; `number` is its index among the test images."""

    label: str
    number: int
    image: Image


def shown(report: ReportData, split: str) -> dict[str, SharedImage]:
    """One image per label: the first that all accuracy passes on this split logged."""
    tests = report.tests.get(split, ())
    labels = next((item.labels for item in report.splits if item.digest == split), ())
    logged = [set(_answers(record)) for record in _passes(report, split)]
    common = sorted(set.intersection(*logged)) if logged else []
    images: dict[str, SharedImage] = {}
    for number in common:
        label = labels[tests[number].label]
        images.setdefault(label, SharedImage(label, number, tests[number]))
    return {label: images[label] for label in labels if label in images}


def confidences(report: ReportData, variant: Variant, label: str) -> tuple[float, ...]:
    """The percentage that each device gave its answer to the image of `label`; negative where it was wrong."""
    chosen = shown(report, variant.model.parent).get(label)
    if chosen is None:
        return ()
    passes = (record for record in _own_passes(report, variant))
    return tuple(signed_confidence(_answers(record)[chosen.number], chosen.image.label) for record in passes)


def signed_confidence(output: Sequence[float], truth: int) -> float:
    """The probability of the answer in percent, negative if it is not `truth`; one output is that of label 1."""
    shares = [1 - output[0], output[0]] if len(output) == 1 else list(output)
    answer = max(range(len(shares)), key=shares.__getitem__)
    return 100 * shares[answer] * (1 if answer == truth else -1)


def _passes(report: ReportData, split: str) -> Iterator[BenchRecord]:
    """The accuracy passes that count, on the very test images of the split."""
    for variant in report.variants:
        if variant.model.parent == split:
            yield from _own_passes(report, variant)


def _own_passes(report: ReportData, variant: Variant) -> Iterator[BenchRecord]:
    image_set = report.image_sets.get(variant.model.parent)
    for measured in variant.measured:
        if measured.accuracy and image_set and measured.accuracy.facts.get("image_set") == image_set:
            yield measured.accuracy


def _answers(record: BenchRecord) -> dict[int, list[float]]:
    logged: Any = record.facts.get("logged") or ()
    return {int(entry["image"]): entry["output"] for entry in logged}
