"""Run trials on a Ray cluster: each is a task that starts a training process on a node with free resources.

    driver (this process)              a node
    ─────────────────────              ──────────────────────────────────────────────
    task per trial ──────────────────▶ train_on_node ─▶ toolkit.train.executors.worker
    Mailbox (actor, beside the driver) ◀── events ──┘        │
    results, database, tracking        workspace ◀───────────┘ checkpoints, models

Only the driver stores results. If a task's node or process dies, the task runs again, possibly on another node, and resumes
after the last epoch in the workspace; therefore every node must see the workspace under the same path.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from toolkit.errors import MachineError, Problem
from toolkit.progress import Progress
from toolkit.system.cpu_quota import available_cpus
from toolkit.train.executors import parallelism
from toolkit.train.executors.base import TrialListener
from toolkit.train.executors.events import Done, Failed, Log, TrainRequest, read
from toolkit.train.executors.process import STOP_S
from toolkit.train.executors.ray_nodes import Node, check_nodes, workspace_mark
from toolkit.train.executors.ray_replicas import cpus_per_replica, train_together
from toolkit.train.executors.ray_task import TrialDied, train_on_node

RETRIES = 4
"""How often a trial is begun again after its node or process died."""
_OBJECTS_BYTES = 100_000_000
"""Ray's shared memory of a cluster of our own: only a few lines pass through it."""
_POLL_S = 0.3


class Mailbox:
    """Where events wait for the driver; it lives on the driver's node, so that no other node's end loses it."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, str, str, list[bytes]]] = []

    def put(self, place: int, attempt: str, node: str, lines: list[bytes]) -> None:
        """Events of one attempt at the trial at `place`."""
        self._waiting.append((place, attempt, node, lines))

    def take(self) -> list[tuple[int, str, str, list[bytes]]]:
        """All that came since."""
        waiting, self._waiting = self._waiting, []
        return waiting


class RayExecutor:
    """Trains on the cluster at `address`; unset: at RAY_ADDRESS, or on one of this machine alone, ended afterwards."""

    def __init__(self, *, address: str | None, profile: str | None, progress: Progress, workers: int = 1) -> None:
        self._address = address or os.environ.get("RAY_ADDRESS")
        self._profile, self._progress, self._workers = profile, progress, workers

    def run(self, requests: Sequence[TrainRequest], listener: TrialListener) -> None:
        """Train all.

        Raises:
            MachineError: Ray is not installed, the cluster cannot be reached, or nodes do not see what they must.
        """
        if not requests:
            return
        if find_spec("ray") is None:
            remedy = 'pip install "edge-vision-toolkit[ray]", here and on every node'
            raise MachineError("Ray is not installed", where="--executor ray", remedy=remedy)
        workspace = requests[0].workspace
        with _cluster(self._address), workspace_mark(workspace) as mark:
            nodes = check_nodes(requests, mark)
            self._progress.log(f"Ray: {', '.join(node.describe() for node in nodes)}")
            _Sweep(requests, listener, self._profile, mark, self._workers).work(nodes)


class _Sweep:
    """Running tasks and their events."""

    def __init__(
        self, requests: Sequence[TrainRequest], listener: TrialListener, profile: str | None, mark: str, workers: int
    ) -> None:
        self._requests, self._listener, self._workers = requests, listener, workers
        self._profile, self._mark = profile, mark
        self._attempts: dict[int, str] = {}
        self._mailbox = _beside_the_driver(Mailbox)

    def work(self, nodes: Sequence[Node]) -> None:
        """Give all to Ray, and listen until the last has ended."""
        import ray

        networks = [request.trial.network for request in self._requests]
        submit = self._submit if self._workers == 1 else self._submit_replicas
        places = {submit(place, nodes): place for place in interleave(networks)}
        try:
            while places:
                ready, _ = ray.wait(list(places), timeout=_POLL_S)
                self._listen()
                for task in ready:
                    place = places.pop(task)
                    self._listener.on_event(place, self._outcome(task, place))
        finally:
            for task in places:
                ray.cancel(task)
            if places:
                ray.wait(list(places), num_returns=len(places), timeout=STOP_S)

    def _submit(self, place: int, nodes: Sequence[Node]) -> Any:
        """A task that any of the nodes has room for."""
        import ray

        request = self._requests[place]
        needed = parallelism.needed_bytes(request.experiment, request.trial)
        cpus = min([parallelism.CPUS_PER_TRIAL, *(node.cpus for node in nodes)])
        task = ray.remote(train_on_node).options(
            name=request.trial.name,
            num_cpus=cpus,
            memory=min(needed, max(node.memory_bytes for node in nodes)),
            max_retries=RETRIES,
            retry_exceptions=[TrialDied],
            scheduling_strategy="SPREAD",
        )
        return task.remote(request.to_json(), place, cpus, self._profile, self._mark, self._mailbox)

    def _submit_replicas(self, place: int, nodes: Sequence[Node]) -> Any:
        """A task that waits until all replicas of a trial have room at once."""
        import ray

        request = self._requests[place]
        cpus = cpus_per_replica(nodes, self._workers)
        needed = parallelism.needed_bytes(request.experiment, request.trial)
        memory = min(needed, *(int(node.memory_bytes * cpus / node.cpus) for node in nodes))
        task = ray.remote(train_together).options(
            name=request.trial.name, num_cpus=0, max_retries=0, scheduling_strategy=_drivers_node()
        )
        return task.remote(
            request.to_json(), place, cpus, self._profile, self._mark, self._mailbox, self._workers, memory
        )

    def _listen(self) -> None:
        import ray

        for place, attempt, node, lines in ray.get(self._mailbox.take.remote()):
            if not lines:  # the first word of an attempt
                again = place in self._attempts
                self._attempts[place] = attempt
                self._listener.begin(place, "its node or process died" if again else "")
                self._listener.on_event(place, Log(f"{self._requests[place].trial.name}: on {node}"))
            elif attempt == self._attempts.get(place):  # not one that was given up
                for line in lines:
                    self._listener.on_event(place, read(line))

    def _outcome(self, task: Any, place: int) -> Done | Failed:
        """What a task that ended gave, or why it gave nothing."""
        import ray

        try:
            return _as_outcome(ray.get(task))
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, TrialDied):
                return _as_outcome(error.cause.args[0])
            return _lost(self._requests[place], error)
        except ray.exceptions.RayError as error:
            return _lost(self._requests[place], error)


def interleave(networks: Sequence[str]) -> list[int]:
    """The places of trials, first one of each network, then the second …: features are then made once, mostly."""
    seen = [networks[:place].count(network) for place, network in enumerate(networks)]
    return sorted(range(len(networks)), key=lambda place: (seen[place], place))


def _as_outcome(line: bytes) -> Done | Failed:
    outcome = read(line)
    assert isinstance(outcome, Done | Failed)  # noqa: S101 - train_on_node gives no other
    return outcome


def _lost(request: TrainRequest, error: Exception) -> Failed:
    """A trial that Ray gave up, for people."""
    what = f"Ray gave up after {RETRIES} more attempts: {str(error).strip().splitlines()[-1]}"
    remedy = "see `ray status` for the nodes; run the same command again to continue from the last epoch"
    return Failed("MachineError", (Problem(what, request.trial.name, remedy),))


def _beside_the_driver(kind: type[Mailbox]) -> Any:
    """The actor, on this node whatever happens to others."""
    import ray

    return ray.remote(kind).options(num_cpus=0, scheduling_strategy=_drivers_node()).remote()


def _drivers_node() -> Any:
    """What places an actor or a task on this node, whose end ends the sweep anyway."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)


@contextmanager
def _cluster(address: str | None) -> Iterator[None]:
    """Connected for the length of a with-block; a cluster of our own ends with it.

    Raises:
        MachineError: it cannot be reached, or is of another version.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    own: dict[str, Any] = {
        "num_cpus": available_cpus(),
        "object_store_memory": _OBJECTS_BYTES,
        "include_dashboard": False,
    }
    try:
        _knock(address)
        ray.init(address or "local", log_to_driver=False, logging_level=logging.ERROR, **({} if address else own))
    except (OSError, RuntimeError, ValueError) as error:
        raise MachineError(
            f"the Ray cluster cannot be used: {str(error).strip().splitlines()[0]}",
            where=address or "on this machine",
            remedy="`ray start --head` on one machine, `ray start --address HOST:PORT` on others, all with the same environment",
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


def _knock(address: str | None) -> None:
    """See that somebody is at HOST:PORT; Ray itself would wait for minutes.

    Raises:
        OSError: nobody is.
    """
    host, _, port = (address or "").rpartition(":")
    if host and port.isdecimal() and "/" not in host:
        socket.create_connection((host, int(port)), timeout=10).close()
