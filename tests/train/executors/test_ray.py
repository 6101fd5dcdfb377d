"""A real Ray cluster of two nodes on this machine, one of which loses its power in the middle of a trial."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from toolkit.artifacts.model import TrainedModel
from toolkit.errors import MachineError
from toolkit.progress import Silent
from toolkit.store import Store
from toolkit.train import SweepOptions
from toolkit.train.executors.ray import interleave
from toolkit.train.executors.ray_nodes import unshared
from toolkit.workspace import Workspace

if TYPE_CHECKING:
    from conftest import Sweep

PATIENCE_S = 240
"""How long a node may take to start on a machine that has much else to do."""
SECOND, THIRD = "127.0.0.2", "127.0.0.3"


class Cluster:
    """Nodes as users start them, with `ray start`; each with one CPU, a small object store and a folder of its own."""

    def __init__(self) -> None:
        self._nodes: list[subprocess.Popen[bytes]] = []
        self._folders: list[tempfile.TemporaryDirectory[str]] = []
        self.address = f"{_own_address()}:{_free_port()}"

    def start(self, *argv: str) -> subprocess.Popen[bytes]:
        """One node, up."""
        folder = tempfile.TemporaryDirectory(
            prefix="ray-", dir="/tmp", ignore_cleanup_errors=True
        )  # sockets need short paths
        own = ["--num-cpus=1", "--memory=2000000000", "--object-store-memory=80000000", "--disable-usage-stats"]
        log = Path(folder.name) / "start.log"
        with log.open("wb") as stream:
            node = subprocess.Popen(
                [Path(sys.executable).parent / "ray", "start", "--block", f"--temp-dir={folder.name}", *own, *argv],
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )
        self._nodes.append(node)
        self._folders.append(folder)
        deadline = time.monotonic() + PATIENCE_S
        while "Ray runtime started" not in log.read_text():
            assert node.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        return node

    def start_head(self) -> subprocess.Popen[bytes]:
        """The node that the driver is on."""
        return self.start("--head", f"--port={self.address.rpartition(':')[2]}", "--include-dashboard=false")

    def start_second(self, address: str = SECOND) -> subprocess.Popen[bytes]:
        """Another one, by another address of this machine."""
        return self.start(f"--address={self.address}", f"--node-ip-address={address}")

    def end(self) -> None:
        for node in reversed(self._nodes):
            cut_power(node)
        for folder in self._folders:
            folder.cleanup()


def cut_power(node: subprocess.Popen[bytes]) -> None:
    """Kill all of a node at once, the trials that it trains too."""
    pids = [node.pid]
    for pid in pids:
        lists = (path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/children"))
        pids += [int(child) for result in lists for child in result]
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    node.wait()


def _own_address() -> str:
    """Ray does not take 127.0.0.1 for a head that other addresses come to."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # nothing is sent
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    monkeypatch.setenv("RAY_raylet_start_wait_time_s", str(PATIENCE_S))
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    made = Cluster()
    try:
        yield made
    finally:
        made.end()


class CuttingPower(Silent):
    """Ends a node when a trial on it has ended its epoch 5."""

    def __init__(self, node: subprocess.Popen[bytes]) -> None:
        super().__init__()
        self._node: subprocess.Popen[bytes] | None = node
        self.lost = ""

    def log(self, text: str) -> None:
        super().log(text)
        if "on node" in text and SECOND in text:
            self.lost = text.partition(":")[0]
        if self._node is not None and self.lost and f"{self.lost} top: epoch 5/" in text:
            cut_power(self._node)
            self._node = None


@pytest.mark.sweeps
@pytest.mark.timeout(900)
def test_every_trial_ends_once_when_a_node_loses_power(cluster: Cluster, sweep: Sweep, tmp_path: Path) -> None:
    sweep.change("epochs = 3\nlearning_rate = 0.01", "epochs = 60\npatience = 60\nlearning_rate = 0.001")
    cluster.start_head()
    progress = CuttingPower(cluster.start_second())
    sweep_result = sweep.train(progress, sweep_options=SweepOptions(executor="ray", address=cluster.address))
    assert progress.lost in {"one-softmax", "two-softmax"}, progress.messages
    assert sweep_result.failed == ()
    ended = Counter((model.network, model.stage) for model in sweep_result.models)
    assert ended == {(network, stage): 1 for network in ("one", "two") for stage in ("top", "fine-tune")}
    (again,) = (line for line in progress.messages if "starting again" in line)
    assert again.startswith(f"{progress.lost}: ")
    (going_on,) = (line for line in progress.messages if "resuming after epoch" in line)
    assert going_on.startswith(f"  {progress.lost} top")
    assert int(going_on.split("epoch ")[1].split()[0]) >= 5
    with Store(sweep.workspace.database) as store:
        assert Counter(model.digest for model in store.all(TrainedModel)) == Counter(
            m.digest for m in sweep_result.models
        )
    straight = sweep.train(workspace=Workspace(tmp_path / "straight"))
    assert [_figures(model) for model in sweep_result.models] == [_figures(model) for model in straight.models]


def _figures(model: TrainedModel) -> list[float]:
    return [round(epoch.loss, 4) for epoch in model.history]


class ReplacingNode(Silent):
    """Ends a node in the middle of fine-tuning, and starts another one."""

    def __init__(self, cluster: Cluster, node: subprocess.Popen[bytes]) -> None:
        super().__init__()
        self._cluster: Cluster | None = cluster
        self._node = node

    def log(self, text: str) -> None:
        super().log(text)
        if self._cluster is not None and "fine-tune: epoch 2/" in text:
            cut_power(self._node)
            self._cluster.start_second(THIRD)
            self._cluster = None


@pytest.mark.sweeps
@pytest.mark.timeout(900)
def test_two_workers_train_as_one_though_a_node_is_replaced(cluster: Cluster, sweep: Sweep, tmp_path: Path) -> None:
    sweep.change("epochs = 3\nlearning_rate = 0.003", "epochs = 8\npatience = 8\nlearning_rate = 0.003")
    cluster.start_head()
    progress = ReplacingNode(cluster, cluster.start_second())
    options = SweepOptions(executor="ray", address=cluster.address, workers=2)
    together = sweep.train(progress, sweep_options=options)
    assert together.failed == (), together.failed
    assert any("starting again" in line for line in progress.messages), progress.messages
    (going_on,) = (line for line in progress.messages if "fine-tune: resuming after epoch" in line)
    assert int(going_on.split("epoch ")[1].split()[0]) >= 2
    alone = sweep.train(workspace=Workspace(tmp_path / "alone"))
    for one, other in zip(together.models, alone.models, strict=True):
        assert [epoch.loss for epoch in one.history] == pytest.approx([epoch.loss for epoch in other.history], abs=1e-4)


@pytest.mark.sweeps
@pytest.mark.timeout(600)
def test_more_workers_than_cpus_are_refused(cluster: Cluster, sweep: Sweep) -> None:
    cluster.start_head()
    with pytest.raises(MachineError, match="3 processes need 3 CPUs, and the cluster has 1"):
        sweep.train(sweep_options=SweepOptions(executor="ray", address=cluster.address, workers=3))


@pytest.mark.sweeps
@pytest.mark.timeout(600)
def test_a_node_is_refused_when_it_does_not_see_the_images(
    cluster: Cluster, sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.start_head()
    (sweep.file.parent / "body.keras").rename(sweep.file.parent / "elsewhere.keras")
    with pytest.raises(MachineError, match="cannot be read there") as caught:
        sweep.train(sweep_options=SweepOptions(executor="ray", address=cluster.address))
    assert caught.value.problems[0].where.startswith("node ")
    assert "share that folder with every node" in caught.value.problems[0].remedy


@pytest.mark.sweeps
@pytest.mark.timeout(600)
def test_local_cluster_starts_and_ends_when_there_is_no_address(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_raylet_start_wait_time_s", str(PATIENCE_S))
    sweep_result = sweep.train(sweep_options=SweepOptions(executor="ray"), last="top")
    assert [model.network for model in sweep_result.models] == ["one", "two"]
    import ray

    assert not ray.is_initialized()


@pytest.mark.sweeps
def test_an_unreachable_cluster_is_refused_with_what_to_do(sweep: Sweep) -> None:
    with pytest.raises(MachineError, match="the Ray cluster cannot be used") as caught:
        sweep.train(sweep_options=SweepOptions(executor="ray", address=f"127.0.0.1:{_free_port()}"))
    assert "ray start --head" in caught.value.problems[0].remedy


def test_unshared_says_what_to_share_when_workspace_differs(sweep: Sweep) -> None:
    request = sweep.requests()[0]
    (problem,) = unshared(request, "no-such-mark", "node b")
    assert problem.where == "node b"
    assert str(request.workspace.root) in problem.what
    assert "under the same path" in problem.remedy


def test_in_turns_begins_with_every_network_once() -> None:
    assert interleave(["a", "a", "a", "b", "b", "c"]) == [0, 3, 5, 1, 4, 2]
