"""Processes that train one model together, connected by TensorFlow."""

from __future__ import annotations

import os
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from toolkit.artifacts.model import TrainedModel
from toolkit.experiment.compute_profiles import PLAIN
from toolkit.train import run_dir
from toolkit.train.executors.events import Done, Event, Failed, Log, StageDone, TrainRequest
from toolkit.train.executors.process import TrainingProcess
from toolkit.train.fitting.replicas import ALONE, ReplicaPlace, Replicas
from toolkit.workspace import Workspace

if TYPE_CHECKING:
    from conftest import Sweep


def free_addresses(count: int) -> tuple[str, ...]:
    with closing(socket.socket()) as first, closing(socket.socket()) as second, closing(socket.socket()) as third:
        sockets = [first, second, third][:count]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return tuple(f"127.0.0.1:{one.getsockname()[1]}" for one in sockets)


def train(request: TrainRequest) -> list[Event]:
    """Everything that a process says of it."""
    process, events = TrainingProcess(PLAIN, os.environ), list[Event]()
    try:
        process.give(request)
        while not events or not isinstance(events[-1], Done | Failed):
            events += process.read_events() or [process.death("it")]
    finally:
        process.stop()
    return events


def train_with_replicas(request: TrainRequest, count: int) -> list[list[Event]]:
    addresses = free_addresses(count)
    requests = [replace(request, place=ReplicaPlace(addresses, index)) for index in range(count)]
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(train, requests))


def models(events: list[Event], workspace: Workspace) -> list[TrainedModel]:
    loaded = [run_dir.load_stage(workspace.root / event.folder) for event in events if isinstance(event, StageDone)]
    return [model for model in loaded if model is not None]


@pytest.mark.sweeps
@pytest.mark.parametrize(("count", "batch_size", "norm"), [(3, 5, "inference"), (2, 4, "training")])
def test_replicas_train_as_one_process_does(
    count: int, batch_size: int, norm: str, sweep: Sweep, workspace: Workspace
) -> None:
    """With 12 images in batches of 5, one of three replicas gets none of the last batch."""
    sweep.change("batch_size = 4", f"batch_size = {batch_size}")
    sweep.change('name = "fine-tune"', f'name = "fine-tune"\nbatch_norm = "{norm}"')
    events_of = train_with_replicas(sweep.requests()[0], count)
    assert [type(events[-1]) for events in events_of] == [Done] * count, [events[-1] for events in events_of]
    together = models(events_of[0], workspace)
    assert [models(events, workspace) for events in events_of[1:]] == [together] * (count - 1)
    alone = sweep.trained_here(Workspace(workspace.root / "alone"))[:2]
    for one, other in zip(together, alone, strict=True):
        assert [epoch.number for epoch in one.history] == [epoch.number for epoch in other.history]
        for figure in ("loss", "val_loss"):
            ours, theirs = ([getattr(epoch, figure) for epoch in model.history] for model in (one, other))
            assert np.allclose(ours, theirs, atol=1e-4), (one.stage, figure, ours, theirs)
        assert [epoch.accuracy for epoch in one.history] == [epoch.accuracy for epoch in other.history]


@pytest.mark.sweeps
def test_replicas_resume_from_the_checkpoint_of_the_first(sweep: Sweep, workspace: Workspace) -> None:
    request = sweep.requests()[0]
    train_with_replicas(replace(request, last="top"), 2)
    events_of = train_with_replicas(request, 2)
    texts = [event.text for event in events_of[0] if isinstance(event, Log)]
    assert any("trained already, skipped" in text for text in texts), texts
    assert [model.stage for model in models(events_of[0], workspace)] == ["top", "fine-tune"]


def test_shares_of_a_batch_are_all_of_it() -> None:
    for size in range(1, 9):
        batch = np.arange(10, 10 + size)
        replicas = [Replicas(index, 4) for index in range(4)]
        counted = [one.share(batch) for one in replicas if one.weight(size)]
        assert sorted(np.concatenate(counted)) == list(batch)
        assert sum(float(one.weight(size)) for one in replicas) == pytest.approx(1)


def test_alone_takes_the_whole_batch() -> None:
    batch = np.arange(5)
    assert ALONE.share(batch) is batch
    assert ALONE.weight(5) == 1
