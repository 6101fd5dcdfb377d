"""Weights that FP16 cannot represent: it silently clamps those beyond its range and turns those too small into zero.

FP16 holds magnitudes up to 65,504; below half of its smallest subnormal (2^-25, about 3e-8) a number becomes 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from toolkit.errors import ConversionError, Problem

LARGEST = 65504.0
VANISHES_BELOW = 2.0**-25


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionLoss:
    """What one constant would lose."""

    name: str
    """The constant's name and the operation that reads it."""
    count: int
    """Its elements."""
    clamped: int
    largest: float
    """The largest magnitude in it."""
    vanished: int
    nonzero: int

    @property
    def serious(self) -> bool:
        """Values change by more than rounding: any is clamped, or nothing but zeros is left."""
        return self.clamped > 0 or 0 < self.nonzero == self.vanished


def find_losses(model: Any) -> tuple[PrecisionLoss, ...]:
    """Every float32 constant of an ov.Model that FP16 would clamp or make vanish in part."""
    result = (_loss(node) for node in model.get_ordered_ops() if _is_float32_constant(node))
    return tuple(loss for loss in result if loss.clamped or loss.vanished)


def refuse_losses(result: Iterable[PrecisionLoss]) -> None:
    """See that nothing serious is lost.

    Raises:
        ConversionError: naming each constant with values that would be clamped, or that would vanish as a whole.
    """
    problems = [_problem(loss) for loss in result if loss.serious]
    if problems:
        raise ConversionError.from_problems(problems)


def _is_float32_constant(node: Any) -> bool:
    return bool(node.get_type_name() == "Constant" and node.get_element_type().get_type_name() == "f32")


def _loss(node: Any) -> PrecisionLoss:
    sizes = np.abs(node.data)
    nonzero = sizes[sizes > 0]
    (reader, *_) = node.output(0).get_target_inputs()
    return PrecisionLoss(
        name=f"{node.get_friendly_name()}, read by {reader.get_node().get_friendly_name()}",
        count=sizes.size,
        clamped=int(np.count_nonzero(sizes > LARGEST)),
        largest=float(sizes.max(initial=0.0)),
        vanished=int(np.count_nonzero(nonzero < VANISHES_BELOW)),
        nonzero=nonzero.size,
    )


def _problem(loss: PrecisionLoss) -> Problem:
    if loss.clamped:
        what = f"{loss.clamped} of {loss.count} values are beyond FP16's range (the largest is {loss.largest:g})"
        return Problem(
            what, loss.name, "train with weight decay or a smaller learning rate, or keep this model in fp32"
        )
    what = f"all {loss.nonzero} values are too small for FP16 and would become 0 (the largest is {loss.largest:g})"
    return Problem(what, loss.name, "scale this layer up, or keep this model in fp32")
