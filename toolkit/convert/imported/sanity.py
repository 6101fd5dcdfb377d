"""Check whether a model's answers make sense on the user's images, and if not, which setting would explain it."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb

import numpy as np
import numpy.typing as npt

from toolkit.convert import parity
from toolkit.convert.parity import Probabilities
from toolkit.errors import DataError

Truth = npt.NDArray[np.int64]

_ALIKE = 1e-6
"""Answers that differ less than this between all images are one answer."""
_LIKELY = 0.05
"""How likely guesses may reach an accuracy before it counts as chance."""
_CLEARLY_RIGHT = 0.9
"""Accuracy above which no other order of labels is looked for."""
_ENOUGH = 12
"""Fewest images for that test; with fewer, accuracy must only be above that of an average guess."""
REMEDY = "check that --labels, --scaling, --color, --layout and --output are those that it was trained with"


def refuse_useless(answers: npt.NDArray[np.float32], file: str) -> None:
    """Refuse answers that are not finite, or the same for every image.

    Raises:
        DataError: they are so.
    """
    if not np.isfinite(answers).all():
        raise DataError("the model returned NaN or infinite values", where=file, remedy=REMEDY)
    if len(answers) > 1 and float(np.ptp(answers, axis=0).max()) < _ALIKE:
        raise DataError(f"gives the same answer for all {len(answers)} images", where=file, remedy=REMEDY)


def chance_error(
    answers: Probabilities, truth: Truth, labels: Sequence[str], file: str, others: Sequence[tuple[str, float]]
) -> DataError:
    """The error for a model that is no better than guessing on images with the user's own labels.

    It names the order of labels, or that of `others` (options and the accuracies with them), that explains it.
    """
    right, count = int(np.sum(parity.top1(answers) == truth)), len(truth)
    what = (
        f"is right on {right} of {count} labeled images, which is no better than guessing among {len(labels)} labels: "
        "a bundle of it would be wrong"
    )
    fitting = [_option_that_fits(others, len(labels)), _order_that_fits(parity.top1(answers), truth, labels)]
    explained = "; or ".join(filter(None, fitting))
    force = 'if this is intended, --force "REASON" makes the bundle, with the reason in it'
    return DataError(what, where=file, remedy=f"{explained or REMEDY}; {force}")


def swapped_labels(answers: Probabilities, truth: Truth, labels: Sequence[str]) -> str:
    """A warning if the images fit another order of labels much better, as when two are swapped; else ""."""
    guesses = parity.top1(answers)
    if float(np.mean(guesses == truth)) > _CLEARLY_RIGHT:
        return ""
    return _order_that_fits(guesses, truth, labels)


def is_chance(right: int, count: int, classes: int) -> bool:
    """Whether guessing among `classes` would plausibly be right as often."""
    share = 1 / classes
    if right <= count * share:
        return True
    if count < _ENOUGH:
        return False
    likely = sum(comb(count, each) * share**each * (1 - share) ** (count - each) for each in range(right, count + 1))
    return likely > _LIKELY


def _option_that_fits(others: Sequence[tuple[str, float]], classes: int) -> str:
    """The option with which most answers would be right; "" if there is none."""
    option, best = max(others, key=lambda each: each[1], default=("", 0.0))
    return f"with {option} it would be right on {best:.0%}" if best >= max(0.5, 1.5 / classes) else ""


def _order_that_fits(guesses: npt.NDArray[np.int64], truth: Truth, labels: Sequence[str]) -> str:
    """The order in which each output's label is the one that most of its images have; "" unless nearly all then fit."""
    counts = np.zeros((len(labels), len(labels)), np.int64)
    np.add.at(counts, (guesses, truth), 1)
    order = counts.argmax(axis=1).tolist()
    one_each = bool((counts.sum(axis=1) > 0).all()) and len(set(order)) == len(labels)
    if not one_each or order == list(range(len(labels))) or counts.max(axis=1).sum() < 0.8 * len(truth):
        return ""
    return f"the labels seem to be in another order: {', '.join(labels[index] for index in order)} would fit the images"
