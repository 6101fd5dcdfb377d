"""A process that trains for show: `PYTHON -m toolkit.train.tuning.worker`, for `toolkit tune` to see how fast it is.

    stdin    one Piece, then a batch size and seconds a line
    stdout   Ready, then for each such line the images/s of every step

What it trains is what fine-tuning trains, on images of noise and random weights: neither changes how long a step takes.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from toolkit import networks
from toolkit.experiment import schema as experiments
from toolkit.experiment.compute_profiles import ComputePrecision
from toolkit.experiment.schema import Experiment, StageTable, TrainTable, Trial
from toolkit.networks import tf_compat
from toolkit.progress import Silent
from toolkit.train.loop import Learner, answering, make_optimizer, training_step
from toolkit.train.trial_filter import choose_trials


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """What is rehearsed."""

    network: str
    experiment: str | None = None
    """The experiment file that knows the network, where the toolkit's own table does not."""
    edge: int
    """Height and width of its images in pixels."""
    batch_size: int
    hidden: tuple[int, ...] = (1024,)
    normalizing: bool = False
    """Whether batch-norms follow each batch's statistics, as they do from random weights on."""
    optimizer: str = "adam"
    precision: ComputePrecision = "float32"


def pieces_of(target: str, network: str | None) -> tuple[Piece, ...]:
    """What to rehearse for an experiment file, one for each of its networks, or for a network of the toolkit's table.

    Raises:
        ConfigurationError: there is no such network.
        UsageError: the experiment has no such network.
    """
    if not target.endswith(".toml"):
        row = networks.find_network(target)
        return (Piece(network=row.name, edge=row.input_size, batch_size=TrainTable().batch_size),)
    plan = experiments.load(Path(target))
    first = {trial.network: trial for trial in reversed(choose_trials(plan, network=network, head=None))}
    return tuple(piece_of(plan, first[name]) for name in plan.matrix.networks if name in first)


def piece_of(plan: Experiment, trial: Trial) -> Piece:
    """What to rehearse for a trial."""
    fine = next((stage for stage in trial.stages if stage.name == "fine-tune"), StageTable(name="fine-tune"))
    return Piece(
        network=trial.network,
        experiment=str(plan.origin),
        edge=trial.input_size or networks.resolve_network(plan, trial.network).input_size,
        batch_size=trial.batch_size,
        hidden=trial.hidden,
        normalizing=fine.batch_norm == "training" if fine.batch_norm else trial.weights == "none",
        optimizer=fine.optimizer,
        precision=trial.precision,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """Said when everything is traced and a step was taken."""

    versions: dict[str, str]
    start_s: float
    """From the start of the process's work to the end of its first step."""


def main(prepared: Callable[[Piece], Callable[[int], None]] | None = None) -> None:
    """Rehearse until stdin ends; `prepared` makes the step in the place of `prepare`."""
    heard, said = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print goes to stderr
    began = time.monotonic()
    piece = Piece(**json.loads(heard.readline()))
    step = (prepared or prepare)(piece)
    step(2)
    ready = Ready(versions=tf_compat.versions(), start_s=time.monotonic() - began)
    _tell(said, asdict(ready))
    for line in heard:
        batch_size, seconds = json.loads(line)
        rates = rates_of(step, int(batch_size), float(seconds))
        _tell(said, {"rates": rates, "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024})


def prepare(piece: Piece) -> Callable[[int], None]:
    """A function that takes one step with a batch of so many images."""
    networks.start_tensorflow()
    import keras

    keras.utils.set_random_seed(0)
    head = networks.find_head("softmax", 2)
    network = _network(piece)
    model = networks.assemble(
        network,
        head,
        size=(piece.edge, piece.edge),
        classes=2,
        hidden=tuple(piece.hidden),
        weights=network.body or "none",
        progress=Silent(),
    )
    top = networks.head_part(model)
    features = networks.features_trained(model, network, normalizing=piece.normalizing, precision=piece.precision)
    variables = networks.fine_tuned_variables(model, network)
    logits = networks.logits_part(model)
    learner = Learner(
        logits, lambda x: top(features(x), training=True), variables, head, np.ones(2, np.float32), answering(logits)
    )
    optimizer = make_optimizer(StageTable.model_validate({"name": "fine-tune", "optimizer": piece.optimizer}))
    optimizer.build(variables)
    return _taking(training_step(learner, optimizer), head, piece.edge)


def rates_of(step: Callable[[int], None], batch_size: int, seconds: float) -> list[float]:
    """Images/s of each step, after one that is not counted; steps begin until `seconds` are over, three at least."""
    step(batch_size)
    end, rates = time.monotonic() + seconds, list[float]()
    while len(rates) < 3 or time.monotonic() < end:
        began = time.monotonic()
        step(batch_size)
        rates.append(batch_size / (time.monotonic() - began))
    return rates


def _network(piece: Piece) -> networks.Network:
    if piece.experiment is None:
        return networks.find_network(piece.network)
    return networks.resolve_network(experiments.load(Path(piece.experiment)), piece.network)


def _taking(step: Callable[..., Any], head: networks.Head, edge: int) -> Callable[[int], None]:
    draw = np.random.default_rng(0)

    def take(count: int) -> None:
        images = draw.integers(0, 256, (1, edge, edge, 3), dtype=np.uint8).astype(np.float32)
        labels = np.arange(count) % 2
        loss, _ = step(np.repeat(images, count, axis=0), head.targets(labels, 2), np.ones(count, np.float32))
        float(loss)

    return take


def _tell(stream: Any, told: object) -> None:
    stream.write(json.dumps(told).encode() + b"\n")
    stream.flush()


if __name__ == "__main__":
    main()
