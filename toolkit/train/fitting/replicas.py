"""Replicas: processes that train one model together, each on its share of every batch.

Each has the same weights and takes the same steps: the gradients of its share are added up with those of all others
(data parallelism; Goyal et al., Accurate, Large Minibatch SGD, 2017, section 3), so a step equals that of one process on the whole
batch, but for the order of sums, dropout and mixup. TensorFlow's
MultiWorkerMirroredStrategy connects them: unencrypted gRPC without authentication, on all of a machine's addresses.

Only the first replica writes checkpoints and models; the others read them from the workspace that all share.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from toolkit.networks import start_tensorflow, tf_compat
from toolkit.networks.tf_runtime import import_tensorflow, native_noise_held_back

_BATCHES = 64
"""So many batches of inputs are in memory at once."""


@dataclass(frozen=True, slots=True)
class ReplicaPlace:
    """Which replica a process is: its place in `addresses` (HOST:PORT), the same list for all."""

    addresses: tuple[str, ...]
    index: int


class Replicas:
    """All replicas, as one of them sees them. Every method that communicates must be called by all, in the same order."""

    def __init__(self, index: int = 0, count: int = 1, strategy: Any = None) -> None:
        self.index, self.count, self._strategy = index, count, strategy
        self._total = self._compiled_total() if strategy is not None else None

    @property
    def is_first(self) -> bool:
        """Whether this one writes."""
        return self.index == 0

    def share(self, batch: np.ndarray) -> np.ndarray:
        """The indices of a batch that this replica trains on; the first of all, with a weight of 0, if none is left for it."""
        return batch if self.count == 1 else batch[self.index :: self.count] if self._size(len(batch)) else batch[:1]

    def weight(self, size: int) -> np.float32:
        """What the mean loss of this replica's share counts in that of a batch of `size`; all together 1."""
        return np.float32(self._size(size) / size)

    def _size(self, size: int) -> int:
        return len(range(self.index, size, self.count))

    def run(self, function: Callable[[], Any]) -> Any:
        """Call a function that calls `add`; inside a tf.function."""
        return function() if self._strategy is None else self._strategy.run(function)

    def add(self, tensors: Sequence[Any]) -> Sequence[Any]:
        """Add up tensors over all replicas; inside `run`."""
        if self._strategy is None:
            return tensors
        added: Sequence[Any] = start_tensorflow().distribute.get_replica_context().all_reduce("SUM", list(tensors))
        return added

    def total(self, value: float) -> float:
        """The sum of a number over all replicas; it also waits for all of them."""
        return value if self._total is None else float(self._total(np.float64(value)))

    def wait(self) -> None:
        """Wait until every replica has come here."""
        self.total(0)

    def of_first(self, value: float) -> float:
        """The first replica's value, for all."""
        return self.total(value if self.is_first else 0)

    def predict(self, predict: Callable[[np.ndarray, int], np.ndarray], inputs: np.ndarray, size: int) -> np.ndarray:
        """`predict(inputs, size)`, of which each replica computes a part; all get the whole."""
        if self._strategy is None or len(inputs) < self.count:
            return predict(inputs, size)
        start, end = (len(inputs) * place // self.count for place in (self.index, self.index + 1))
        blocks = (inputs[at : min(at + _BATCHES * size, end)] for at in range(start, end, _BATCHES * size))
        own = start_tensorflow().constant(np.concatenate([predict(block, size) for block in blocks]))
        return np.asarray(self._strategy.run(_gather, args=(own,)))

    def separate_randomness(self, variables: Sequence[Any]) -> None:
        """Let random layers draw other numbers on each replica: `variables` holds the state of their generators."""
        for variable in variables if self.index else ():
            value = np.array(tf_compat.array(variable))
            if np.issubdtype(value.dtype, np.integer) and value.ndim == 1:
                value[0] += self.index  # the seed in Keras 3
                variable.assign(value)

    def _compiled_total(self) -> Callable[[np.float64], Any]:
        tf = start_tensorflow()

        @tf.function(input_signature=[tf.TensorSpec([], tf.float64)], autograph=False)  # type: ignore[untyped-decorator]  # tensorflow ships no types
        def total(value: Any) -> Any:
            return self._strategy.run(lambda: self.add([tf.identity(value)])[0])  # an argument itself is on no device

        return total  # type: ignore[no-any-return]  # tensorflow ships no types


ALONE = Replicas()
"""One process that trains the whole batch."""


def connect(place: ReplicaPlace | None) -> Replicas:
    """Wait for all others and return them; must come before TensorFlow starts. Without a place: ALONE."""
    if place is None:
        return ALONE
    tf = import_tensorflow()
    cluster = tf.train.ClusterSpec({"worker": list(place.addresses)})
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        cluster, task_type="worker", task_id=place.index, rpc_layer="grpc"
    )
    with native_noise_held_back():
        strategy = tf.distribute.MultiWorkerMirroredStrategy(resolver)
    return Replicas(place.index, len(place.addresses), strategy)


def _gather(own: Any) -> Any:
    return start_tensorflow().distribute.get_replica_context().all_gather(own, axis=0)
