"""Which settings train a network fastest on this machine, found within a limit of time.

Each candidate has a process of its own. They begin one after the other, the slowest leaving whenever more than a few are
there; then those left take turns, the slower half leaving after each round (successive halving), so that most of the time
goes to the comparisons that are close, and whatever else the machine does disturbs all alike. Nothing is chosen over the
plainest candidate for less than 3 %.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from typing import Any

from toolkit.errors import MachineError
from toolkit.experiment.compute_profiles import ComputePrecision, Profile
from toolkit.progress import Progress
from toolkit.train.tuning.process import OUT_OF_TIME, Measured, Rehearsal
from toolkit.train.tuning.worker import Piece

LIMIT_S = 160.0
"""What all of it may take: under three minutes."""
STEP_S = 0.8
"""How long a step should take at most; batches are made as small as that wants."""
TURN_S = 2.0
AT_ONCE = 4
"""So many processes stay at most, for memory's sake."""
BETTER = 1.03
_FOR_CANDIDATES, _FOR_ROUNDS = 0.6, 0.8
"""Shares of the limit after which no candidate begins, and no round; what is left is for the advice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """What was found; rates are images/s."""

    chosen: Measured
    measured: tuple[Measured, ...]
    """All candidates, the fastest first; those that failed or had no time last."""
    step: int
    """Images in a step that was measured."""
    batches: dict[int, float]
    """Of the chosen one, with other batch sizes."""
    other: Measured | None
    """The chosen one, computing in the precision that the processor has instructions for."""

    def profile(self, name: str) -> Profile:
        """What `train` takes: the chosen settings, and advice on what would change results."""
        faster = self.other is not None and self.other.rate > BETTER * self.chosen.rate
        return replace(
            self.chosen.profile,
            name=name,
            batch_size=max(self.batches, key=lambda size: self.batches[size], default=None),
            precision="bfloat16" if faster else "float32",
        )

    def told(self) -> dict[str, Any]:
        """As JSON: why it was chosen."""
        rows = [asdict(one) | {"rate": one.rate, "spread": one.spread} for one in (*self.measured, self.other) if one]
        for row in rows:
            row["profile"]["python"] = str(row["profile"]["python"] or "")
        return {"step": self.step, "candidates": rows, "batches": self.batches, "chosen": self.chosen.profile.name}


def tune(
    piece: Piece,
    profiles: Sequence[Profile],
    progress: Progress,
    *,
    precision: ComputePrecision = "float32",
    limit_s: float = LIMIT_S,
) -> Tuned:
    """Try the profiles on `piece`; `precision` is one to measure besides.

    Raises:
        MachineError: none of them could train it.
    """
    began = time.monotonic()
    end = began + limit_s
    with ExitStack() as stack:
        hall = _Hall(piece, stack, progress)
        for profile in profiles:
            hall.invite(profile, end if not hall.rehearsals else began + _FOR_CANDIDATES * limit_s)
        while len(hall.rehearsals) > 1 and time.monotonic() < began + _FOR_ROUNDS * limit_s:
            hall.round(end)
        chosen = choose([one for one in hall.measured if one.rates])
        if chosen is None:
            reasons = "; ".join(f"{one.profile.name}: {one.failure}" for one in hall.measured)
            raise MachineError(
                f"no candidate trained {piece.network}: {reasons}",
                remedy="give it more --seconds, or wait until the machine is less busy",
            )
        batches = hall.batches(chosen, end)
        other = hall.in_precision(chosen, precision, end) if precision != piece.precision else None
    return Tuned(
        chosen=chosen,
        measured=tuple(sorted(hall.measured, key=lambda one: -one.rate)),
        step=hall.step,
        batches=batches,
        other=other,
    )


def choose(measured: Sequence[Measured]) -> Measured | None:
    """The fastest, or the first one that is not clearly slower: candidates come the plainest first."""
    best = max((one.rate for one in measured), default=0.0)
    return next((one for one in measured if one.rate * BETTER >= best), None)


def faster_half(measured: Sequence[Measured]) -> list[Measured]:
    """Those that stay for another round: the faster half, rounded up, in their order."""
    fastest = sorted(measured, key=lambda one: -one.rate)[: (len(measured) + 1) // 2]
    return [one for one in measured if any(one is other for other in fastest)]


def step_for(rate: float, batch_size: int) -> int:
    """How many images a measured step has, when one image after the other goes at `rate`."""
    return max(2, min(batch_size, int(rate * STEP_S)))


class _Hall:
    """Those who rehearse, and what was measured of all that ever did."""

    def __init__(self, piece: Piece, stack: ExitStack, progress: Progress) -> None:
        self.piece, self.step = piece, 0
        self.rehearsals: list[Rehearsal] = []
        self.measured: list[Measured] = []
        self._stack, self._progress = stack, progress

    def invite(self, profile: Profile, end: float) -> None:
        """Begin another, and leave out the slowest when they are too many."""
        if time.monotonic() > end:
            self.measured.append(Measured(profile, failure=OUT_OF_TIME))
            return
        rehearsal = self._begin(profile, self.piece, end)
        self.measured.append(rehearsal.measured)
        if rehearsal.measured.rates:
            self.rehearsals.append(rehearsal)
        if len(self.rehearsals) > AT_ONCE:
            self._leave(min(self.rehearsals, key=lambda one: one.measured.rate))

    def round(self, end: float) -> None:
        """A turn each, then the slower half leaves."""
        for rehearsal in self.rehearsals:
            rehearsal.turn(self.step, TURN_S, end)
        stay = faster_half([one.measured for one in self.rehearsals])
        for rehearsal in list(self.rehearsals):
            if not any(rehearsal.measured is one for one in stay):
                self._leave(rehearsal)

    def batches(self, chosen: Measured, end: float) -> dict[int, float]:
        """The rates of the chosen one with the piece's own batch size and around it, as far as there is time."""
        rehearsal = next((one for one in self.rehearsals if one.measured is chosen), None)
        own, found = self.piece.batch_size, dict[int, float]()
        for size in (own // 4, own // 2, own, own * 2):
            needed = 4 * size / chosen.rate
            if rehearsal and size > 1 and time.monotonic() + needed < end - 30:
                rates = rehearsal.turn(size, 0.0, end)
                found |= {size: sum(rates) / len(rates)} if rates else {}
        return found

    def in_precision(self, chosen: Measured, precision: ComputePrecision, end: float) -> Measured:
        """The chosen settings once more, computing otherwise."""
        for rehearsal in list(self.rehearsals):
            self._leave(rehearsal)
        profile = replace(chosen.profile, name=f"{chosen.profile.name}, {precision}")
        if time.monotonic() > end:
            return Measured(profile, failure=OUT_OF_TIME)
        return self._begin(profile, replace(self.piece, precision=precision), end).measured

    def _begin(self, profile: Profile, piece: Piece, end: float) -> Rehearsal:
        rehearsal = self._stack.enter_context(Rehearsal(profile, piece))
        if rehearsal.start(end):
            if not self.step:
                self.step = step_for(max(rehearsal.turn(4, 0.0, end), default=0.0), piece.batch_size)
                rehearsal.measured.rates.clear()
            rehearsal.turn(self.step, TURN_S, end)
        own = rehearsal.measured
        self._progress.log(f"  {profile.name}: {own.failure or f'{own.rate:.1f} images/s'}")
        if not own.rates:
            rehearsal.end()
        return rehearsal

    def _leave(self, rehearsal: Rehearsal) -> None:
        rehearsal.end()
        self.rehearsals.remove(rehearsal)
