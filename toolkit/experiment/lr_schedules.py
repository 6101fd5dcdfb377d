"""Learning-rate schedules: their settings in an experiment, and the rates they give.

    schedule = "cosine"
    schedule = { kind = "step", at = [0.33, 0.66], factor = 0.1 }

The rate changes between epochs (with decay_steps at every step) and is a pure function of the epochs and steps before, so
a resumed run uses the same rates as an uninterrupted one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Factor = Annotated[float, Field(gt=0, lt=1)]
Floor = Annotated[float, Field(ge=0, lt=1)]


class _Schedule(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    warmup: Annotated[float, Field(ge=0, allow_inf_nan=False, exclude_if=lambda epochs: not epochs)] = 0
    """Epochs, or a fraction of one, in which the rate rises step by step from nearly 0 to its full value."""

    def share(self, losses: Sequence[float], epochs: int) -> float:
        """The share of the stage's learning_rate that the next epoch takes.

        Args:
            losses: The validation loss of every epoch so far.
            epochs: How many the stage has at most.
        """
        raise NotImplementedError

    @property
    def by_step(self) -> bool:
        """Whether the rate changes within an epoch too."""
        return self.warmup > 0

    def share_at(self, steps: int, steps_per_epoch: int) -> float:
        """Return the factor after a number of steps (batches) of the stage."""
        return min(1.0, (steps + 1) / (self.warmup * steps_per_epoch)) if self.warmup else 1.0


class Constant(_Schedule):
    """The same rate throughout."""

    kind: Literal["constant"] = "constant"

    def share(self, losses: Sequence[float], epochs: int) -> float:
        """All of it."""
        del losses, epochs
        return 1.0


class Step(_Schedule):
    """Times `factor` at each of the fractions `at` of the stage's epochs: divided by ten at 33 % and 66 %."""

    kind: Literal["step"] = "step"
    at: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(default=(0.33, 0.66), min_length=1)
    factor: Factor = 0.1

    def share(self, losses: Sequence[float], epochs: int) -> float:
        """factor^(fractions passed)."""
        return self.factor ** sum(len(losses) >= fraction * epochs for fraction in self.at)


class Exponential(_Schedule):
    """rate^(epochs done / every), or the textbook's rate^(step / decay_steps) where decay_steps is set."""

    kind: Literal["exponential"] = "exponential"
    rate: Factor = 0.9
    every: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1
    # Left out of a run's digest where it is unset, so that earlier runs keep their names.
    decay_steps: Annotated[int, Field(ge=1)] | None = Field(default=None, exclude_if=lambda steps: steps is None)

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if self.decay_steps is not None and "every" in self.model_fields_set:
            raise ValueError("every counts epochs and decay_steps counts batches: set one of them")
        return self

    def share(self, losses: Sequence[float], epochs: int) -> float:
        """rate^(epochs done / every); 1 where steps count."""
        del epochs
        return 1.0 if self.decay_steps is not None else math.pow(self.rate, len(losses) / self.every)

    @property
    def by_step(self) -> bool:
        """Whether decay_steps or warmup is set."""
        return self.decay_steps is not None or super().by_step

    def share_at(self, steps: int, steps_per_epoch: int) -> float:
        """rate^(steps / decay_steps), or 1 where epochs count; times the warm-up."""
        decay = 1.0 if self.decay_steps is None else math.pow(self.rate, steps / self.decay_steps)
        return decay * super().share_at(steps, steps_per_epoch)


class Cosine(_Schedule):
    """Half a cosine from the whole rate down to `floor` of it (Loshchilov and Hutter, ICLR 2017, without restarts)."""

    kind: Literal["cosine"] = "cosine"
    floor: Floor = 0

    def share(self, losses: Sequence[float], epochs: int) -> float:
        """It is floor + (1 - floor) (1 + cos(pi done / epochs)) / 2."""
        return self.floor + (1 - self.floor) * (1 + math.cos(math.pi * len(losses) / epochs)) / 2


class Plateau(_Schedule):
    """Times `factor` whenever `patience` epochs went by without a better validation loss, down to `floor` of the rate."""

    kind: Literal["plateau"] = "plateau"
    factor: Factor = 0.1
    patience: Annotated[int, Field(ge=1)] = 2
    floor: Floor = 0

    def share(self, losses: Sequence[float], epochs: int) -> float:
        """Found anew from all losses so far; nothing else needs keeping."""
        del epochs
        best, waited, share = math.inf, 0, 1.0
        for loss in losses:
            waited = 0 if loss < best else waited + 1
            best = min(best, loss)
            if waited == self.patience:
                waited, share = 0, max(share * self.factor, self.floor)
        return share


def _named(value: object) -> object:
    return {"kind": value} if isinstance(value, str) else value


Schedule = Annotated[
    Annotated[Constant | Step | Exponential | Cosine | Plateau, Field(discriminator="kind")], BeforeValidator(_named)
]
