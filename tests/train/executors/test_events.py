from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.artifacts.model import Epoch
from toolkit.errors import ConfigurationError, Problem
from toolkit.experiment.load import shipped_experiment
from toolkit.train.executors.events import (
    Done,
    EpochDone,
    Event,
    EventProgress,
    Failed,
    Log,
    ProgressAdvanced,
    ProgressEnded,
    ProgressStarted,
    StageDone,
    TrainRequest,
    read,
    write,
)

if TYPE_CHECKING:
    from conftest import Sweep

texts, counts = st.text(), st.integers(0, 10**9)
figures = st.floats(0, 1e6, allow_nan=False)
problems = st.builds(Problem, texts, texts, texts)
epochs = st.builds(
    Epoch,
    stage=texts,
    number=counts,
    loss=figures,
    accuracy=figures,
    val_loss=figures,
    val_accuracy=figures,
    seconds=figures,
    learning_rate=figures,
)
events = st.one_of(
    st.builds(Log, texts),
    st.builds(ProgressStarted, counts, texts, counts),
    st.builds(ProgressAdvanced, counts, counts, texts),
    st.builds(ProgressEnded, counts),
    st.builds(EpochDone, texts, epochs),
    st.builds(StageDone, texts),
    st.builds(Done),
    st.builds(Failed, st.just("DataError"), st.lists(problems, min_size=1).map(tuple)),
)


@given(events)
def test_read_gives_back_what_was_written_on_one_line(event: Event) -> None:
    line = write(event)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert read(line) == event


def test_request_is_the_same_when_it_was_a_line(sweep: Sweep) -> None:
    request = sweep.requests()[1]
    line = request.to_json()
    assert "\n" not in line
    again = TrainRequest.from_json(line)
    assert (again.trial, again.split, again.last) == (request.trial, request.split, None)
    assert again.experiment == request.experiment
    assert again.experiment.resolve_path("body.keras") == request.experiment.resolve_path("body.keras").absolute()


@pytest.mark.parametrize("name", ["demo", "face-mask", "flowers", "cifar10", "cifar100", "fashion-mnist"])
def test_request_keeps_every_setting_of_the_experiments(name: str, sweep: Sweep) -> None:
    from toolkit.experiment.load import load_experiment

    one = sweep.requests()[0]
    experiment = load_experiment(shipped_experiment(name))
    for trial in experiment.trials():
        request = TrainRequest(experiment=experiment, trial=trial, split=one.split, workspace=one.workspace)
        again = TrainRequest.from_json(request.to_json())
        assert (again.experiment, again.trial) == (experiment, trial)


def test_failed_raises_the_error_that_it_tells_of() -> None:
    on_epoch_end = Failed("ConfigurationError", (Problem("a", "b", "c"), Problem("d")))
    error = on_epoch_end.raised()
    assert isinstance(error, ConfigurationError)
    assert error.problems == on_epoch_end.problems


def test_telling_tells_every_step_once_when_steps_are_gathered() -> None:
    on_epoch_end: list[Event] = []
    progress = EventProgress(on_epoch_end.append)
    with progress.track("a", 5) as outer, progress.track("b", 3) as inner:
        for _ in range(5):
            outer.advance(1, "note")
        inner.advance(3)
    steps = {
        bar: sum(e.steps for e in on_epoch_end if isinstance(e, ProgressAdvanced) and e.bar == bar) for bar in (0, 1)
    }
    assert steps == {0: 5, 1: 3}
    assert [event.bar for event in on_epoch_end if isinstance(event, ProgressEnded)] == [1, 0]
