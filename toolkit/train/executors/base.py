"""The interface between a sweep and its executor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from toolkit.train.executors.events import Event, TrainRequest


class TrialListener(Protocol):
    """Hears of all trials, by their place in the sweep; of each one Done or Failed, and nothing after it."""

    def on_event(self, place: int, event: Event) -> None:
        """Something happened in a trial."""

    def begin(self, place: int, why: str = "") -> None:
        """A trial begins, or begins again; `why` says what ended it before."""


class Executor(Protocol):
    """Trains requests in whatever order and number at once."""

    def run(self, requests: Sequence[TrainRequest], listener: TrialListener) -> None:
        """Train all. When it is left by an error or Ctrl-C, no process it started is left.

        Raises:
            ToolkitError: nothing can be trained here at all.
        """
