from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from toolkit.analysis.network_budget import (
    NetworkLatency,
    choose_network,
    estimate,
    measurements,
    parse_budget,
    with_network_for,
)
from toolkit.artifacts.bench import BenchRecord
from toolkit.artifacts.bundle import Bundle, IrModel, Parity
from toolkit.artifacts.model import Evaluation, TrainedModel
from toolkit.errors import UsageError
from toolkit.experiment.load import load_experiment
from toolkit.experiment.schema import Experiment
from toolkit.networks import NETWORKS
from toolkit.progress import Silent
from toolkit.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from toolkit.workspace import Workspace


def measured(network: str, p90_ms: float, device: str = "pi-1", edge: int = 224) -> NetworkLatency:
    return NetworkLatency(device=device, network=network, edge=edge, p90_ms=p90_ms)


@pytest.mark.parametrize(("text", "expected"), [("30ms", 30), ("0.5s", 500), ("12.5", 12.5), (" 8 ms", 8)])
def test_parse_budget_reads_times(text: str, expected: float) -> None:
    assert parse_budget(text) == expected


@pytest.mark.parametrize("text", ["", "0", "-5ms", "fast", "5 minutes"])
def test_parse_budget_refuses_what_is_no_time(text: str) -> None:
    with pytest.raises(UsageError, match="is not a time"):
        parse_budget(text)


@pytest.mark.parametrize(
    ("budget_ms", "network", "edge"),
    [(30, "efficientnet_lite0", 128), (40, "efficientnet_lite0", 160), (60, "efficientnet_lite0", 224)],
)
def test_choose_network_uses_multiply_adds_without_records(budget_ms: float, network: str, edge: int) -> None:
    chosen = choose_network(budget_ms, ())
    assert (chosen.network.name, chosen.edge, chosen.measured) == (network, edge, False)
    assert chosen.latency_ms <= budget_ms


def test_choose_network_takes_downloaded_weights_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert choose_network(60, ()).network.name == "efficientnet_lite0"
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "efficientnetb0_notop.h5").touch()
    assert choose_network(60, ()).network.name == "efficientnet_b0"


def test_choose_network_prefers_what_the_devices_measured() -> None:
    chosen = choose_network(30, (measured("efficientnet_lite0", 25), measured("mobilenet_v2", 20)))
    assert (chosen.network.name, chosen.latency_ms, chosen.measured) == ("efficientnet_lite0", 25, True)


def test_estimate_takes_the_slowest_device() -> None:
    records = (measured("mobilenet_v2", 10, "pi-5"), measured("mobilenet_v2", 40, "pi-3"))
    assert estimate(NETWORKS["mobilenet_v2"], 224, records).device == "pi-3"
    expected = 40 * NETWORKS["mobilenet"].multiply_adds / NETWORKS["mobilenet_v2"].multiply_adds
    other = estimate(NETWORKS["mobilenet"], 224, records)
    assert (other.latency_ms, other.measured) == (pytest.approx(expected), False)


def test_estimate_scales_records_of_other_image_sizes_by_area() -> None:
    own = estimate(NETWORKS["mobilenet_v2"], 224, (measured("mobilenet_v2", 10, edge=112),))
    assert (own.latency_ms, own.measured) == (pytest.approx(40), False)


def test_choose_network_names_the_fastest_when_none_fits() -> None:
    with pytest.raises(UsageError, match="no network with weights on this machine answers within 1 ms") as error:
        choose_network(1, ())
    assert "mobilenet_v2 at 128 pixels is the fastest" in error.value.problems[0].remedy


def test_with_network_for_sets_network_and_size_of_a_folder(tmp_path: Path, workspace: Workspace) -> None:
    progress = Silent()
    with Store(workspace.database) as store:
        plan = with_network_for(load_experiment(tmp_path), 30, store, progress)
    assert [(trial.network, trial.input_size) for trial in plan.trials()] == [("efficientnet_lite0", 128)]
    (line,) = progress.messages
    assert line.startswith("network: efficientnet_lite0 at 128 pixels, 19.3 ms on a Raspberry Pi 4")


def test_with_network_for_refuses_named_networks(workspace: Workspace) -> None:
    content = {"name": "x", "data": {"source": "synthetic-masks"}, "matrix": {"networks": ["vgg16"]}}
    with Store(workspace.database) as store, pytest.raises(UsageError, match="names its networks"):
        with_network_for(Experiment.model_validate(content), 20, store, Silent())


def test_measurements_are_the_fastest_valid_single_stream_runs(workspace: Workspace) -> None:
    with Store(workspace.database) as store:
        for artifact in _records():
            store.put(artifact)
        assert measurements(store) == (measured("mobilenet_v2", 19, edge=96),)


def _records() -> tuple[Any, ...]:
    evaluation = Evaluation(
        subset="test",
        images=1,
        loss=0,
        accuracy=1,
        interval=(0, 1),
        top5=None,
        classes=(),
        confusion=(),
        predictions=(),
    )
    text = dict.fromkeys(
        ("parent", "run", "experiment", "head", "stage", "weights", "note", "crop", "scaling", "path"), "x"
    )
    model = TrainedModel(
        **text,
        digest="model",
        network="mobilenet_v2",
        labels=("a", "b"),
        input_size=(96, 96),
        parameters=1,
        history=(),
        evaluation=evaluation,
        seconds=1,
    )
    parity = Parity(
        images=1, max_abs=0, mean_abs=0, top1_agreement=1, accuracy=1, reference_accuracy=1, tolerance=1, passed=True
    )
    ir = IrModel(
        digest="ir", parent="model", precision="fp16", target="cpu", path="x", size_bytes=1, parity=parity, seconds=1
    )
    bundle = Bundle(digest="bundle", parent="ir", name="x", precision="fp16", target="cpu", path="x", size_bytes=1)
    return (model, ir, bundle, *_runs())


def _runs() -> Iterator[BenchRecord]:
    """A slow valid run, a fast one, a faster one that broke a rule, one of another scenario, and one too short."""
    kinds = [(30, "single-stream", (), 100), (19, "single-stream", (), 100), (5, "single-stream", ("throttled",), 100)]
    for number, (ms, scenario, broken, count) in enumerate(
        [*kinds, (1, "offline", (), 100), (1, "single-stream", (), 9)]
    ):
        yield BenchRecord(
            digest=str(number),
            parent="bundle",
            device="pi-1",
            scenario=scenario,
            accelerator="CPU",
            samples_ms=(float(ms),) * count,
            wall_s=1,
            quick=True,
            broken_rules=broken,
            accuracy=None,
            correct=None,
            images=1,
            facts={},
            settings={},
            at="2026-11-29T12:00:00Z",
        )
