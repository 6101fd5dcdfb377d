"""A score and a threshold for "unknown", both fitted on validation images; pure functions in NumPy."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from toolkit.artifacts.model import Rejection, StrangerResult
from toolkit.device import rejection
from toolkit.stats import curves
from toolkit.train.metrics import dispatch

POINTS = 50
"""Points of the curve that is drawn."""
CONFIDENCE = 0.8
"""With which the answers that a rule lets pass are wrong no more often than it says."""
_RESAMPLES = 100


def fit_rejection(logits: np.ndarray, labels: np.ndarray, error: float, temperature: float) -> Rejection:
    """The best score, and its lowest threshold at which no more than `error` of the answers given are wrong.

    A threshold counts as such if the upper end of the one-sided 80 % interval of its error rate (Clopper and Pearson,
    Biometrika 1934) is at most `error`, so that a threshold from few images stays cautious: for an error of 0.02 it takes
    at least 80 validation images that are answered correctly.

    Args:
        logits: Of the validation images, [n, outputs], one label each.
        labels: [n].
        error: The share of wrong answers among those given that is accepted.
        temperature: What logits are divided by; by 1 if it is lower, because sharper probabilities tell strangers less
            well from known classes.
    """
    temperature = max(1.0, temperature)
    score = best_score(logits, labels, temperature)
    confidences, wrong = judged(logits, labels, score, temperature)
    order = np.argsort(-confidences, kind="stable")
    errors, accepted = np.cumsum(wrong[order]), np.arange(1, len(order) + 1)
    # A threshold accepts all answers of one confidence or none of them.
    ends = np.append(np.diff(confidences[order]) != 0, True)
    fits = ends & (errors <= error * accepted)
    fits[fits] = [
        _chance_of_so_few(int(few), int(count), error) <= 1 - CONFIDENCE
        for few, count in zip(errors[fits], accepted[fits], strict=True)
    ]
    count = int(np.flatnonzero(fits)[-1]) + 1 if fits.any() else 0
    return Rejection(
        score=score,
        error=error,
        temperature=temperature,
        threshold=_threshold(confidences[order], count),
        validation_error=float(errors[count - 1] / count) if count else 0.0,
        coverage=count / max(len(order), 1),
    )


def warning_for(rule: Rejection | None, images: int) -> str:
    """Why a rule lets no answer pass, if it does not; `images` are those it was fitted on."""
    if rule is None or rule.coverage > 0:
        return ""
    needed = math.ceil(math.log(1 - CONFIDENCE) / math.log(1 - rule.error))
    return (
        f'every image is answered "unknown": an error rate of {rule.error:g} takes at least {needed} validation images '
        f"that are answered correctly, and there are {images} validation images"
    )


def best_score(logits: np.ndarray, labels: np.ndarray, temperature: float) -> str:
    """The score with the smallest area under its curve of risk against coverage.

    It is the largest probability unless another one is better by two standard errors, which are estimated by resampling.
    """
    rows = np.random.default_rng(0).integers(0, len(labels), (_RESAMPLES, len(labels)))
    areas = {}
    for score in rejection.SCORES:
        sureness, wrong = judged(logits, labels, score, temperature)
        areas[score] = np.array([np.mean(_risks(sureness[row], wrong[row])) for row in rows])
    best, usual = min(areas, key=lambda score: float(areas[score].mean())), rejection.SCORES[0]
    gain = areas[usual] - areas[best]
    return best if gain.mean() > 2 * gain.std() + 1e-9 else usual


def judged(logits: np.ndarray, labels: np.ndarray, score: str, temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """How sure each answer is, and whether it is wrong, [n] each; as a device computes it, from probabilities."""
    return confidences(logits, score, temperature), ~dispatch.is_correct(logits, labels)


def confidences(logits: np.ndarray, score: str, temperature: float) -> np.ndarray:
    """How sure each answer is, [n]."""
    return rejection.scores(dispatch.probabilities(logits, multi_label=False), score, temperature)


def risk_coverage(sureness: np.ndarray, wrong: np.ndarray) -> tuple[tuple[float, float], ...]:
    """Coverage and share of wrong answers, from the surest image alone to all; at most POINTS of them."""
    risks = _risks(sureness, wrong)
    at = np.unique(np.linspace(1, len(risks), min(POINTS, len(risks))).round().astype(int))
    return tuple((float(count / len(risks)), float(risks[count - 1])) for count in at)


def stranger_result(rule: Rejection, known: np.ndarray, strangers: np.ndarray) -> StrangerResult:
    """How `rule` treats strangers, given their logits and those of the test images."""
    return StrangerResult(
        images=len(strangers),
        unknown=int((~accepted(rule, strangers)).sum()),
        auroc=_auroc(known, strangers, rule.score, rule.temperature),
        auroc_of_probability=_auroc(known, strangers, "probability", 1.0),
    )


def accepted(rule: Rejection, logits: np.ndarray) -> np.ndarray:
    """Which images get an answer, bool [n]."""
    return np.asarray(rejection.accepts(dispatch.probabilities(logits, multi_label=False), rule.to_manifest()))


def _auroc(known: np.ndarray, strangers: np.ndarray, score: str, temperature: float) -> float:
    sureness: Sequence[float] = [
        *confidences(known, score, temperature),
        *confidences(strangers, score, temperature),
    ]
    return curves.area_under(curves.roc_curve(sureness, [True] * len(known) + [False] * len(strangers)))


def _chance_of_so_few(wrong: int, answers: int, error: float) -> float:
    """The probability of at most `wrong` wrong answers if each is wrong with probability `error`."""
    logs = [
        math.lgamma(answers + 1)
        - math.lgamma(count + 1)
        - math.lgamma(answers - count + 1)
        + count * math.log(error)
        + (answers - count) * math.log1p(-error)
        for count in range(wrong + 1)
    ]
    return math.fsum(map(math.exp, logs))


def _risks(sureness: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Share of wrong answers among the surest 1, 2, … n images, [n]; the mean is the area under the curve."""
    order = np.argsort(-sureness, kind="stable")
    return np.cumsum(wrong[order]) / np.arange(1, len(order) + 1)


def _threshold(sorted_confidences: np.ndarray, count: int) -> float:
    """Between the last confidence that is accepted and the first that is not."""
    if count == 0:
        return 1.0
    if count == len(sorted_confidences):
        return 0.0
    return float((sorted_confidences[count - 1] + sorted_confidences[count]) / 2)
