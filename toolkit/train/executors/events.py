"""Events between the sweep and its worker processes: JSON, one message per line.

Request ─▶ worker ─▶ Log, ProgressStarted, ProgressAdvanced, ProgressEnded, EpochDone, StageDone …, then Done or Failed
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from time import monotonic
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from toolkit import errors
from toolkit.artifacts.dataset import Split
from toolkit.artifacts.model import Epoch
from toolkit.errors import Problem, ToolkitError
from toolkit.experiment.schema import Experiment
from toolkit.experiment.training_schema import Stage, Trial
from toolkit.progress import Task
from toolkit.train.fitting.replicas import ReplicaPlace
from toolkit.workspace import Workspace

SECONDS_BETWEEN_STEPS = 0.5
"""Interval between progress events."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRequest:
    """One trial to train, with all that it takes."""

    experiment: Experiment
    trial: Trial
    split: Split
    workspace: Workspace
    last: Stage | None = None
    place: ReplicaPlace | None = None
    """Which of several replicas the reader is; None: the only one."""

    def to_json(self) -> str:
        """Return one line. Paths are absolute, because the reader may have another working directory."""
        return json.dumps(
            {
                "experiment": self.experiment.model_dump(mode="json", exclude_unset=True),
                "origin": str(self.experiment.origin.absolute()),
                "trial": self.trial.model_dump(mode="json"),
                "split": _SPLIT.dump_python(self.split, mode="json"),
                "workspace": str(self.workspace.root.absolute()),
                "last": self.last,
                "place": asdict(self.place) if self.place else None,
            }
        )

    @classmethod
    def from_json(cls, line: str) -> TrainRequest:
        """The opposite of `to_json`."""
        content = json.loads(line)
        return cls(
            experiment=Experiment.model_validate(content["experiment"] | {"origin": content["origin"]}),
            trial=Trial.model_validate(content["trial"]),
            split=_SPLIT.validate_python(content["split"]),
            workspace=Workspace(Path(content["workspace"])),
            last=content["last"],
            place=ReplicaPlace(tuple(place["addresses"]), place["index"]) if (place := content["place"]) else None,
        )


@dataclass(frozen=True, slots=True)
class Log:
    """One line for people."""

    text: str
    kind: Literal["log"] = "log"


@dataclass(frozen=True, slots=True)
class ProgressStarted:
    """A bar over `total` steps; `bar` is its number in this process."""

    bar: int
    title: str
    total: int
    kind: Literal["progress_started"] = "progress_started"


@dataclass(frozen=True, slots=True)
class ProgressAdvanced:
    """So many more steps of a bar."""

    bar: int
    steps: int
    note: str
    kind: Literal["progress_advanced"] = "progress_advanced"


@dataclass(frozen=True, slots=True)
class ProgressEnded:
    """A bar that is over."""

    bar: int
    kind: Literal["progress_ended"] = "progress_ended"


@dataclass(frozen=True, slots=True)
class EpochDone:
    """An epoch that its run's checkpoint holds."""

    run: str
    epoch: Epoch
    kind: Literal["epoch"] = "epoch"


@dataclass(frozen=True, slots=True)
class StageDone:
    """A finished stage; its model is in `folder`, relative to the workspace."""

    folder: str
    kind: Literal["stage"] = "stage"


@dataclass(frozen=True, slots=True)
class Done:
    """All requested stages are finished."""

    kind: Literal["done"] = "done"


@dataclass(frozen=True, slots=True)
class Failed:
    """The trial came to nothing; `error` names a class of toolkit.errors."""

    error: str
    problems: tuple[Problem, ...]
    kind: Literal["failed"] = "failed"

    def raised(self) -> ToolkitError:
        """The error, to be raised on this side."""
        kind: type[ToolkitError] = getattr(errors, self.error)
        return kind.from_problems(self.problems)


Event = Log | ProgressStarted | ProgressAdvanced | ProgressEnded | EpochDone | StageDone | Done | Failed
_SPLIT = TypeAdapter(Split)
_EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="kind")])


def write(event: Event) -> bytes:
    """The event as one line."""
    return _EVENT.dump_json(event) + b"\n"


def read(line: bytes) -> Event:
    """The opposite of `write`."""
    return _EVENT.validate_json(line)


class EventProgress:
    """A Progress that sends its output as events."""

    def __init__(self, send: Callable[[Event], None]) -> None:
        self._send, self._bars = send, count()

    def log(self, text: str) -> None:
        """One line."""
        self._send(Log(text))

    @contextmanager
    def track(self, title: str, total: int) -> Iterator[Task]:
        """A bar."""
        bar = next(self._bars)
        self._send(ProgressStarted(bar, title, total))
        steps = _Steps(bar, self._send)
        yield steps
        steps.send()
        self._send(ProgressEnded(bar))


class _Steps:
    """Steps gathered, so that telling of them costs nothing."""

    def __init__(self, bar: int, send: Callable[[Event], None]) -> None:
        self._bar, self._send = bar, send
        self._steps, self._note, self._sent_at = 0, "", monotonic()

    def advance(self, steps: int = 1, note: str = "") -> None:
        self._steps += steps
        self._note = note
        if monotonic() - self._sent_at >= SECONDS_BETWEEN_STEPS:
            self.send()

    def send(self) -> None:
        """What has not been told yet."""
        if self._steps:
            self._send(ProgressAdvanced(self._bar, self._steps, self._note))
        self._steps, self._sent_at = 0, monotonic()
