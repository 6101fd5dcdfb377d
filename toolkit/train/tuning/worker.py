"""Worker process of `toolkit tune` (`PYTHON -m toolkit.train.tuning.worker`): trains on random data and reports images/s.

    stdin    one Workload, then lines of a batch size and seconds
    stdout   Ready, then for each such line the images/s of every step

It does the same work as fine-tuning, on random images with random weights; neither affects the time of a step.
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
from toolkit.experiment.compute_profiles import ComputePrecision
from toolkit.experiment.load import load_experiment
from toolkit.experiment.schema import Experiment
from toolkit.experiment.training_schema import Optimizer, StageConfig, TrainConfig, Trial
from toolkit.networks import tf_compat
from toolkit.progress import Silent
from toolkit.train.fitting.loop import TrainState, batched_predict, training_step
from toolkit.train.fitting.optimizer import StageOptimizer
from toolkit.train.trial_filter import select_trials


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """The network and batch to measure."""

    network: str
    experiment: str | None = None
    """The experiment file that knows the network, where the toolkit's own table does not."""
    edge: int
    """Height and width of its images in pixels."""
    batch_size: int
    hidden: tuple[int, ...] = (1024,)
    normalizing: bool = False
    """Whether batch norms use each batch's statistics, as when training from random weights."""
    optimizer: Optimizer = "adam"
    precision: ComputePrecision = "float32"


def workloads_for(target: str, network: str | None) -> tuple[Workload, ...]:
    """Return the workloads of an experiment file, one per network, or of a network in the registry.

    Raises:
        ConfigurationError: there is no such network.
        UsageError: the experiment has no such network.
    """
    if not target.endswith(".toml"):
        row = networks.find_network(target)
        return (Workload(network=row.name, edge=row.input_size, batch_size=TrainConfig().batch_size),)
    plan = load_experiment(Path(target))
    first = {trial.network: trial for trial in reversed(select_trials(plan, network=network, head=None))}
    return tuple(workload_for_trial(plan, first[name]) for name in plan.matrix.networks if name in first)


def workload_for_trial(plan: Experiment, trial: Trial) -> Workload:
    """Return the workload of a trial."""
    fine = next((stage for stage in trial.stages if stage.name == "fine-tune"), StageConfig(name="fine-tune"))
    return Workload(
        network=trial.network,
        experiment=str(plan.origin),
        edge=trial.input_size or networks.resolve_network(plan, trial.network).input_size,
        batch_size=trial.batch_size,
        hidden=trial.hidden,
        normalizing=fine.batch_norm == "training" if fine.batch_norm else trial.weights == "none",
        optimizer=fine.optimizer or "adamw",
        precision=trial.precision,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """Sent once the step is traced and ran once."""

    versions: dict[str, str]
    start_s: float
    """From the start of the process's work to the end of its first step."""


def main(make_step: Callable[[Workload], Callable[[int], None]] | None = None) -> None:
    """Measure until stdin ends; `prepared` replaces `prepare` in tests."""
    requests, responses = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print goes to stderr
    began = time.monotonic()
    workload = Workload(**json.loads(requests.readline()))
    step = (make_step or prepare)(workload)
    step(2)
    ready = Ready(versions=tf_compat.versions(), start_s=time.monotonic() - began)
    _send(responses, asdict(ready))
    for line in requests:
        batch_size, seconds = json.loads(line)
        rates = measure_throughput(step, int(batch_size), float(seconds))
        _send(responses, {"rates": rates, "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024})


def prepare(workload: Workload) -> Callable[[int], None]:
    """Return a function that runs one step with a batch of the given size."""
    networks.start_tensorflow()
    import keras

    keras.utils.set_random_seed(0)
    head, network, model = networks.find_head("softmax", 2), _network(workload), assemble(workload)
    top = networks.head_part(model)
    features = networks.features_trained(model, network, normalizing=workload.normalizing, precision=workload.precision)
    variables = networks.fine_tuned_variables(model, network)
    logits = networks.logits_part(model)
    state = TrainState(
        logits,
        lambda x: top(features(x), training=True),
        variables,
        head,
        np.ones(2, np.float32),
        batched_predict(logits),
    )
    optimizer = StageOptimizer(StageConfig(name="fine-tune", optimizer=workload.optimizer), variables)
    return _taking(training_step(state, optimizer), head, workload.edge)


def assemble(workload: Workload) -> Any:
    """Return the workload's network for two classes, with the weights of its own body or random ones."""
    network = _network(workload)
    return networks.assemble(
        network,
        networks.find_head("softmax", 2),
        size=(workload.edge, workload.edge),
        classes=2,
        hidden=tuple(workload.hidden),
        weights=network.body or "none",
        progress=Silent(),
    )


def measure_throughput(step: Callable[[int], None], batch_size: int, seconds: float) -> list[float]:
    """Return the images/s of each step after a warm-up step; runs for `seconds`, at least three steps."""
    step(batch_size)
    end, rates = time.monotonic() + seconds, list[float]()
    while len(rates) < 3 or time.monotonic() < end:
        began = time.monotonic()
        step(batch_size)
        rates.append(batch_size / (time.monotonic() - began))
    return rates


def _network(workload: Workload) -> networks.Network:
    if workload.experiment is None:
        return networks.find_network(workload.network)
    return networks.resolve_network(load_experiment(Path(workload.experiment)), workload.network)


def _taking(step: Callable[..., Any], head: networks.Head, edge: int) -> Callable[[int], None]:
    draw = np.random.default_rng(0)

    def take(count: int) -> None:
        images = draw.integers(0, 256, (1, edge, edge, 3), dtype=np.uint8).astype(np.float32)
        labels = np.arange(count) % 2
        loss, _ = step(np.repeat(images, count, axis=0), head.targets(labels, 2), np.ones(count, np.float32))
        float(loss)

    return take


def _send(stream: Any, to_json: object) -> None:
    stream.write(json.dumps(to_json).encode() + b"\n")
    stream.flush()


if __name__ == "__main__":
    main()
