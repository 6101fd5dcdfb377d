"""Metrics of published figures: their names, their formatting, and the matching figures of our models."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from toolkit.artifacts.model import Epoch, TrainedModel
from toolkit.report import formatting
from toolkit.report.data import device_predictions
from toolkit.report.data.load import ReportData
from toolkit.report.data.variants import Variant


@dataclass(frozen=True)
class OurResult:
    """Our model, or one form of it, that stands beside a published row; `keys` is what it was found by."""

    report: ReportData
    model: TrainedModel
    variant: Variant | None
    keys: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Metric:
    """One kind of figure. `values` gives ours: none, one, or one per device."""

    name: str
    title: str
    write: Callable[[float], str]
    values: Callable[[OurResult, str], tuple[float, ...]]
    labeled: bool = False
    """Whether ours differs by the label that a column names after the colon."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A measure, and the label of the image that it is of, if it is of one."""

    metric: Metric
    label: str = ""

    @property
    def title(self) -> str:
        """As a column is headed."""
        return f"{self.metric.title}, {self.label.replace('_', ' ')}" if self.label else self.metric.title

    @property
    def our_title(self) -> str:
        """As the column of ours is headed: one for all labels where they do not matter."""
        return self.title if self.metric.labeled else self.metric.title

    def ours(self, of: OurResult | None) -> tuple[float, ...]:
        """Ours; empty where it was not run."""
        return self.metric.values(of, self.label) if of else ()

    def our_text(self, of: OurResult | None) -> str:
        """Ours in words: one figure, or the range over the devices; empty where it was not run."""
        written = list(dict.fromkeys(map(self.metric.write, sorted(self.ours(of)))))
        return f"{written[0]} to {written[-1]}" if len(written) > 1 else "".join(written)


def signed_percent(value: float) -> str:
    """88.8200 as 88.82 %, negative ones with a true minus."""
    return f"{value:.2f} %".replace("-", formatting.MINUS)


def _last(name: str) -> Callable[[OurResult, str], tuple[float, ...]]:
    """A figure of the last epoch."""
    return lambda ours, _: (float(getattr(_epochs(ours)[-1], name)),)


def _epochs(ours: OurResult) -> tuple[Epoch, ...]:
    return tuple(epoch for epoch in ours.model.history if epoch.stage == ours.model.stage)


def _step_s(ours: OurResult, _: str) -> tuple[float, ...]:
    """Mean seconds of a training step, the validation after each epoch included."""
    plan, model = ours.report.plan, ours.model
    split = next((split for split in ours.report.splits if split.digest == model.parent), None)
    if plan is None or split is None:
        return ()
    batch = plan.networks[model.network].batch_size if model.network in plan.networks else None
    steps = math.ceil(split.size("train") / (batch or plan.train.batch_size))
    seconds = [epoch.seconds for epoch in _epochs(ours)]
    return (sum(seconds) / len(seconds) / steps,)


def _majority(ours: OurResult, _: str) -> tuple[float, ...]:
    """The share of the validation images that are of the commonest class."""
    counts = next((s.counts["validation"] for s in ours.report.splits if s.digest == ours.model.parent), {})
    return (max(counts.values()) / sum(counts.values()),) if counts else ()


def _rates(ours: OurResult, _: str) -> tuple[float, ...]:
    measured = ours.variant.measured if ours.variant else ()
    return tuple(each.rate for each in measured if each.rate is not None)


def _confidences(ours: OurResult, label: str) -> tuple[float, ...]:
    return device_predictions.confidences(ours.report, ours.variant, label) if ours.variant else ()


def _rate(value: float) -> str:
    return f"{value:.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def _percent(value: float) -> str:
    return formatting.percent(value, 2)


def _four_digits(value: float) -> str:
    return f"{value:.4f}"


_ALL = (
    Metric("loss", "Loss", _four_digits, lambda ours, _: (ours.model.evaluation.loss,)),
    Metric("accuracy", "Accuracy", _percent, lambda ours, _: (ours.model.evaluation.accuracy,)),
    Metric("last_loss", "Last epoch, loss", _four_digits, _last("loss")),
    Metric("last_accuracy", "Last epoch, accuracy", _percent, _last("accuracy")),
    Metric("last_val_loss", "Last epoch, validation loss", _four_digits, _last("val_loss")),
    Metric("last_val_accuracy", "Last epoch, validation accuracy", _percent, _last("val_accuracy")),
    Metric(
        "best_val_accuracy",
        "Best validation accuracy",
        formatting.percent,
        lambda ours, _: (max(epoch.val_accuracy for epoch in ours.model.history),),
    ),
    Metric("majority_rate", "Commonest class", formatting.percent, _majority),
    Metric("step_s", "Seconds a step", formatting.number, _step_s),
    Metric("rate", "Inferences/s", _rate, _rates),
    Metric("confidence", "Confidence", signed_percent, _confidences, labeled=True),
)
METRICS: Mapping[str, Metric] = {metric.name: metric for metric in _ALL}
