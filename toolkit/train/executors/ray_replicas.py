"""Train one trial on several processes of a Ray cluster, which TensorFlow connects (see toolkit.train.fitting.replicas).

    train_together (a task) ──▶ ReplicaActor 0 … N-1, spread over the nodes ──▶ toolkit.train.executors.worker, one each
                                     only replica 0's events go to the driver

If a replica or its node dies, the others cannot go on: all are stopped and started again, on nodes that are left, and resume
after the last epoch in the workspace.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from toolkit.errors import MachineError, Problem
from toolkit.train.executors import parallelism
from toolkit.train.executors.events import Failed, TrainRequest, read, write
from toolkit.train.executors.ray_nodes import Node
from toolkit.train.executors.ray_task import TrialDied, train_on_node
from toolkit.train.fitting.replicas import ReplicaPlace

ATTEMPTS = 5
"""How often all replicas are started."""
_PLACED_S = 600.0
"""How long they wait for free CPUs after one has died."""
_REMEDY = "see `ray status` for the nodes; run the same command again to go on from the last epoch"


def cpus_per_replica(nodes: Sequence[Node], workers: int) -> int:
    """The most CPUs, up to those of a trial, with which so many replicas fit on the nodes.

    Raises:
        MachineError: they do not fit with one CPU each.
    """
    for cpus in range(parallelism.CPUS_PER_TRIAL, 0, -1):
        if sum(int(node.cpus) // cpus for node in nodes) >= workers:
            return cpus
    available = sum(int(node.cpus) for node in nodes)
    raise MachineError(
        f"{workers} processes need {workers} CPUs, and the cluster has {available}",
        where="--workers",
        remedy="start more nodes: ray start --address HOST:PORT, or use fewer workers",
    )


class ReplicaActor:
    """One replica's process, on the node where Ray has placed it."""

    def address(self) -> str:
        """Where this replica will listen: a port that is free now."""
        import ray

        with socket.socket() as probe:
            probe.bind((ray.util.get_node_ip_address(), 0))
            return f"{ray.util.get_node_ip_address()}:{probe.getsockname()[1]}"

    def train(self, *arguments: Any) -> bytes:
        """As `train_on_node`."""
        return train_on_node(*arguments)


def train_together(
    text: str, place: int, cpus: int, profile: str | None, mark: str, mailbox: Any, workers: int, memory_bytes: int
) -> bytes:
    """The task: train the trial in `text` with `workers` replicas and return its outcome as a line."""
    outcome = b""
    for _ in range(ATTEMPTS):
        outcome, died = _attempt(text, place, cpus, profile, mark, mailbox, workers, memory_bytes)
        if not died:
            break
    return outcome


def _attempt(
    text: str, place: int, cpus: int, profile: str | None, mark: str, mailbox: Any, workers: int, memory_bytes: int
) -> tuple[bytes, bool]:
    """The outcome of replicas that are started and stopped here, and whether one of them died."""
    import ray
    from ray.util.placement_group import placement_group, remove_placement_group
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    request = TrainRequest.from_json(text)
    group = placement_group([{"CPU": cpus, "memory": memory_bytes}] * workers, strategy="SPREAD")
    replicas: list[Any] = []
    try:
        ray.get(group.ready(), timeout=_PLACED_S)
        actor = ray.remote(ReplicaActor)
        replicas = [
            actor.options(
                num_cpus=cpus,
                scheduling_strategy=PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=at),
            ).remote()
            for at in range(workers)
        ]
        addresses = tuple(ray.get([replica.address.remote() for replica in replicas]))
        texts = [replace(request, place=ReplicaPlace(addresses, at)).to_json() for at in range(workers)]
        tasks = [
            replica.train.remote(one, place, cpus, profile, mark, None if at else mailbox)
            for at, (replica, one) in enumerate(zip(replicas, texts, strict=True))
        ]
        return _first_outcome(tasks), False
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, TrialDied):
            return error.cause.args[0], True
        return _failure(request, error), True
    except ray.exceptions.RayError as error:
        return _failure(request, error), True
    finally:
        for replica in replicas:
            ray.kill(replica)
        with suppress(ray.exceptions.RayError):
            remove_placement_group(group)


def _first_outcome(tasks: list[Any]) -> bytes:
    """Wait until replica 0 is done or another has failed, and return that outcome."""
    import ray

    waiting = list(tasks)
    while True:
        (ready, *_), waiting = ray.wait(waiting, num_returns=1)
        line: bytes = ray.get(ready)
        if ready == tasks[0] or isinstance(read(line), Failed):
            return line


def _failure(request: TrainRequest, error: Exception) -> bytes:
    what = f"a replica was lost: {str(error).strip().splitlines()[-1]}"
    return write(Failed("MachineError", (Problem(what, request.trial.name, _REMEDY),)))
