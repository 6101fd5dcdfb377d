"""Paired comparisons of models on the same images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from toolkit.artifacts.model import TrainedModel
from toolkit.report.data.load import ReportData
from toolkit.stats import intervals


@dataclass(frozen=True, slots=True)
class Pair:
    """Two models on the same test images; the difference is the second's accuracy minus the first's."""

    first: TrainedModel
    second: TrainedModel
    only_first: int
    """Images that only the first classified correctly."""
    only_second: int
    difference: float
    interval: tuple[float, float]
    """Newcombe's 95 % interval for paired proportions."""
    p_value: float
    """McNemar's exact test, two-sided."""

    @property
    def is_significant(self) -> bool:
        """Return whether the difference is significant at 5 %."""
        return self.p_value < 0.05


def pair(first: TrainedModel, second: TrainedModel, truth: tuple[int, ...]) -> Pair | None:
    """Compare two models by their predictions; None unless they are of the same images."""
    answers = first.evaluation.predictions, second.evaluation.predictions
    if first.parent != second.parent or not truth or {len(each) for each in answers} != {len(truth)}:
        return None
    right = [(a == t, b == t) for a, b, t in zip(*answers, truth, strict=True)]
    only_first, only_second = right.count((True, False)), right.count((False, True))
    difference, low, high = intervals.paired_difference(
        right.count((True, True)), only_second, only_first, right.count((False, False))
    )
    return Pair(
        first, second, only_first, only_second, difference, (low, high), intervals.mcnemar(only_first, only_second)
    )


def heads(report: ReportData) -> Iterator[Pair]:
    """Sigmoid (first) against softmax (second), per network and stage that have both."""
    cells = {(model.network, model.stage, model.head): model for model in report.models}
    for network, stage in dict.fromkeys((model.network, model.stage) for model in report.models):
        sigmoid, softmax = (cells.get((network, stage, head)) for head in ("sigmoid", "softmax"))
        if sigmoid and softmax and (result := pair(sigmoid, softmax, report.truth.get(sigmoid.parent, ()))):
            yield result


def networks(report: ReportData) -> Iterator[Pair]:
    """Per head the most accurate network (first) against each of the others, all at their last stage."""
    for head in dict.fromkeys(model.head for model in report.models):
        last = {model.network: model for model in report.models if model.head == head}
        best = max(last.values(), key=lambda model: model.evaluation.accuracy)
        for other in last.values():
            if other is not best and (result := pair(best, other, report.truth.get(best.parent, ()))):
                yield result


def indistinguishable(report: ReportData, model: TrainedModel) -> tuple[TrainedModel, ...]:
    """Return the models without a significant difference from `model`."""
    truth = report.truth.get(model.parent, ())
    pairs = (pair(model, other, truth) for other in report.models if other is not model)
    return tuple(result.second for result in pairs if result and not result.is_significant)
