"""What a published figure is called, how it is written, and where ours of the same kind comes from."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from toolkit.artifacts.model import Epoch, TrainedModel
from toolkit.report import formatting
from toolkit.report.data import device_predictions
from toolkit.report.data.load import Gathered
from toolkit.report.data.variants import Variant


@dataclass(frozen=True)
class Ours:
    """Our model, or one form of it, that stands beside a published row; `keys` is what it was found by."""

    gathered: Gathered
    model: TrainedModel
    variant: Variant | None
    keys: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Measure:
    """One kind of figure. `values` gives ours: none, one, or one per device."""

    name: str
    title: str
    write: Callable[[float], str]
    values: Callable[[Ours, str], tuple[float, ...]]
    labeled: bool = False
    """Whether ours differs by the label that a column names after the colon."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A measure, and the label of the image that it is of, if it is of one."""

    measure: Measure
    label: str = ""

    @property
    def title(self) -> str:
        """As a column is headed."""
        return f"{self.measure.title}, {self.label.replace('_', ' ')}" if self.label else self.measure.title

    @property
    def our_title(self) -> str:
        """As the column of ours is headed: one for all labels where they do not matter."""
        return self.title if self.measure.labeled else self.measure.title

    def ours(self, of: Ours | None) -> tuple[float, ...]:
        """Ours; empty where it was not run."""
        return self.measure.values(of, self.label) if of else ()

    def our_text(self, of: Ours | None) -> str:
        """Ours in words: one figure, or the range over the devices; empty where it was not run."""
        written = list(dict.fromkeys(map(self.measure.write, sorted(self.ours(of)))))
        return f"{written[0]} to {written[-1]}" if len(written) > 1 else "".join(written)


def signed_percent(value: float) -> str:
    """88.8200 as 88.82 %, negative ones with a true minus."""
    return f"{value:.2f} %".replace("-", formatting.MINUS)


def _last(name: str) -> Callable[[Ours, str], tuple[float, ...]]:
    """A figure of the last epoch."""
    return lambda ours, _: (float(getattr(_epochs(ours)[-1], name)),)


def _epochs(ours: Ours) -> tuple[Epoch, ...]:
    return tuple(epoch for epoch in ours.model.history if epoch.stage == ours.model.stage)


def _step_s(ours: Ours, _: str) -> tuple[float, ...]:
    """Mean seconds of a training step, the validation after each epoch included."""
    plan, model = ours.gathered.plan, ours.model
    split = next((split for split in ours.gathered.splits if split.digest == model.parent), None)
    if plan is None or split is None:
        return ()
    batch = plan.networks[model.network].batch_size if model.network in plan.networks else None
    steps = math.ceil(split.size("train") / (batch or plan.train.batch_size))
    seconds = [epoch.seconds for epoch in _epochs(ours)]
    return (sum(seconds) / len(seconds) / steps,)


def _majority(ours: Ours, _: str) -> tuple[float, ...]:
    """The share of the validation images that are of the commonest class."""
    counts = next((s.counts["validation"] for s in ours.gathered.splits if s.digest == ours.model.parent), {})
    return (max(counts.values()) / sum(counts.values()),) if counts else ()


def _rates(ours: Ours, _: str) -> tuple[float, ...]:
    measured = ours.variant.measured if ours.variant else ()
    return tuple(each.rate for each in measured if each.rate is not None)


def _confidences(ours: Ours, label: str) -> tuple[float, ...]:
    return device_predictions.confidences(ours.gathered, ours.variant, label) if ours.variant else ()


def _rate(value: float) -> str:
    return f"{value:.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def _percent(value: float) -> str:
    return formatting.percent(value, 2)


def _four_digits(value: float) -> str:
    return f"{value:.4f}"


_ALL = (
    Measure("loss", "Loss", _four_digits, lambda ours, _: (ours.model.evaluation.loss,)),
    Measure("accuracy", "Accuracy", _percent, lambda ours, _: (ours.model.evaluation.accuracy,)),
    Measure("last_loss", "Last epoch, loss", _four_digits, _last("loss")),
    Measure("last_accuracy", "Last epoch, accuracy", _percent, _last("accuracy")),
    Measure("last_val_loss", "Last epoch, validation loss", _four_digits, _last("val_loss")),
    Measure("last_val_accuracy", "Last epoch, validation accuracy", _percent, _last("val_accuracy")),
    Measure(
        "best_val_accuracy",
        "Best validation accuracy",
        formatting.percent,
        lambda ours, _: (max(epoch.val_accuracy for epoch in ours.model.history),),
    ),
    Measure("majority_rate", "Commonest class", formatting.percent, _majority),
    Measure("step_s", "Seconds a step", formatting.number, _step_s),
    Measure("rate", "Inferences/s", _rate, _rates),
    Measure("confidence", "Confidence", signed_percent, _confidences, labeled=True),
)
MEASURES: Mapping[str, Measure] = {measure.name: measure for measure in _ALL}
