"""The most accurate network and image size that answer within a time limit, by bench records or by multiply-adds.

    a device measured the network     the p90 latency of its fastest converted model
    a device measured others          multiply-adds, at the rate (the median) of what it measured
    no device measured anything       multiply-adds, at the rate of a Raspberry Pi 4

The slowest device counts. Of what is fast enough, the highest ImageNet accuracy is chosen, less what smaller images cost.
Networks whose weights would have to be downloaded are left out.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.artifacts.bench import BenchRecord
from toolkit.artifacts.bundle import Bundle, IrModel
from toolkit.artifacts.model import TrainedModel
from toolkit.device.bench.spec import SINGLE_STREAM
from toolkit.errors import UsageError
from toolkit.experiment.schema import Experiment
from toolkit.experiment.training_schema import NetworkConfig
from toolkit.networks import NETWORKS, Network
from toolkit.progress import Progress
from toolkit.stats.intervals import percentile
from toolkit.store import Store

PI_4_MULTIPLY_ADDS_PER_MS = 6.5e6
"""MobileNetV2 in float32 takes a Raspberry Pi 4 about 46 ms (published, four threads)."""
SIZES = (7, 6, 5, 4)
"""Sevenths of a network's own input size that are tried."""
LOSS = (0.0, 1.3, 3.2, 6.3)
"""Points of ImageNet accuracy that MobileNets lose at these sizes: 224, 192, 160 and 128 pixels (Howard et al., 2017, table 7;
MobileNetV2 loses about as many)."""
_REFERENCE = "a Raspberry Pi 4, from published figures"


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkLatency:
    """The p90 latency of a network on a device."""

    device: str
    network: str
    edge: int
    """Height and width of its images."""
    p90_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """How long a network takes on the slowest device."""

    network: Network
    edge: int
    latency_ms: float
    device: str
    measured: bool

    @property
    def accuracy(self) -> float:
        """ImageNet accuracy at this size, in percent; by the published points that MobileNets lose."""
        return self.network.imagenet_top1 - LOSS[SIZES.index(round(7 * self.edge / self.network.input_size))]


def parse_budget(text: str) -> float:
    """Milliseconds of "30ms", "0.5s" or "30".

    Raises:
        UsageError: it is not a time.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s)?", text.strip())
    if match is None or not float(match[1]):
        raise UsageError(f"{text!r} is not a time", where="--budget", remedy="name one such as 30ms")
    return float(match[1]) * (1000 if match[2] == "s" else 1)


def with_network_for(experiment: Experiment, budget_ms: float, store: Store, progress: Progress) -> Experiment:
    """The experiment with the best network that answers within the budget.

    Raises:
        UsageError: the experiment names its networks, or none is fast enough.
    """
    if "networks" in experiment.matrix.model_fields_set:
        raise UsageError(
            f"experiment {experiment.name} names its networks",
            where="--budget",
            remedy="leave matrix.networks out, or --budget",
        )
    chosen = choose_network(budget_ms, measurements(store))
    how = "measured" if chosen.measured else "estimated by multiply-adds"
    name, edge = chosen.network.name, chosen.edge
    progress.log(f"network: {name} at {edge} pixels, {chosen.latency_ms:.3g} ms on {chosen.device} ({how})")
    own = experiment.networks.get(name, NetworkConfig())
    if edge != chosen.network.input_size:
        own = own.model_copy(update={"input_size": edge})
    matrix = experiment.matrix.model_copy(update={"networks": (name,)})
    return experiment.model_copy(update={"matrix": matrix, "networks": {name: own}})


def measurements(store: Store) -> tuple[NetworkLatency, ...]:
    """The valid single-stream records of models that were trained here, the fastest of each network, size and device."""
    models = {model.digest: model for model in store.all(TrainedModel)}
    irs = {ir.digest: models[ir.parent] for ir in store.all(IrModel) if ir.parent in models}
    fastest: dict[tuple[str, str, int], float] = {}
    for bundle in store.all(Bundle):
        model = irs.get(bundle.parent)
        for record in store.all(BenchRecord, parent=bundle.digest) if model else ():
            p90_ms = None if record.broken_rules else percentile(record.samples_ms, 90)
            if model and p90_ms is not None and record.scenario == SINGLE_STREAM:
                key = (record.device, model.network, max(model.input_size))
                fastest[key] = min(p90_ms, fastest.get(key, p90_ms))
    return tuple(
        NetworkLatency(device=device, network=network, edge=edge, p90_ms=p90_ms)
        for (device, network, edge), p90_ms in fastest.items()
    )


def choose_network(budget_ms: float, measured: Sequence[NetworkLatency]) -> Estimate:
    """The most accurate of the networks with weights at hand, at the sizes that take no longer than `budget_ms`.

    Raises:
        UsageError: every network takes longer; names the fastest.
    """
    estimates = [
        estimate(network, edge, measured)
        for network in NETWORKS.values()
        for edge in (network.input_size * size // SIZES[0] for size in SIZES)
        if network.has_weights(edge)
    ]
    fit = [one for one in estimates if one.latency_ms <= budget_ms]
    if not fit:
        fastest = min(estimates, key=lambda one: one.latency_ms)
        raise UsageError(
            f"no network with weights on this machine answers within {budget_ms:g} ms",
            where="--budget",
            remedy=f"{fastest.network.name} at {fastest.edge} pixels is the fastest: {fastest.latency_ms:.3g} ms on {fastest.device}",
        )
    return max(fit, key=lambda one: (one.accuracy, -one.latency_ms))


def estimate(network: Network, edge: int, measured: Sequence[NetworkLatency]) -> Estimate:
    """The latency of a network with images of that height and width, on the slowest device."""
    by_device: dict[str, list[NetworkLatency]] = {}
    for one in measured:
        if one.network in NETWORKS:
            by_device.setdefault(one.device, []).append(one)
    if not by_device:
        latency_ms = _multiply_adds(network, edge) / PI_4_MULTIPLY_ADDS_PER_MS
        return Estimate(network=network, edge=edge, latency_ms=latency_ms, device=_REFERENCE, measured=False)
    return max((_on_device(network, edge, *own) for own in by_device.items()), key=lambda one: one.latency_ms)


def _on_device(network: Network, edge: int, device: str, measured: Sequence[NetworkLatency]) -> Estimate:
    direct = [one.p90_ms for one in measured if (one.network, one.edge) == (network.name, edge)]
    rate = statistics.median(_multiply_adds(NETWORKS[one.network], one.edge) / one.p90_ms for one in measured)
    return Estimate(
        network=network,
        edge=edge,
        latency_ms=min(direct, default=_multiply_adds(network, edge) / rate),
        device=device,
        measured=bool(direct),
    )


def _multiply_adds(network: Network, edge: int) -> float:
    """They grow with the area."""
    return network.multiply_adds * (edge / network.input_size) ** 2
