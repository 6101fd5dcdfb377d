"""Check that each node of a Ray cluster sees the files that a trial reads and writes."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from toolkit import data
from toolkit.errors import MachineError, Problem, ToolkitError
from toolkit.train.executors.events import TrainRequest
from toolkit.workspace import Workspace

_ANSWER_S = 120.0
_SHARE = "share that folder with every node under the same path (NFS, for one); `--workspace` may name another one"


@dataclass(frozen=True, slots=True)
class Node:
    """What a node has to give."""

    name: str
    identity: str
    cpus: float
    memory_bytes: int

    def describe(self) -> str:
        """For people."""
        return f"{self.name} with {self.cpus:g} CPUs and {self.memory_bytes / 1e9:.1f} GB"


@contextmanager
def workspace_mark(workspace: Workspace) -> Iterator[str]:
    """Words in a file of the workspace, by which a node shows that it sees the same one; gone after the with-block."""
    mark = secrets.token_hex(16)
    path = _marked(workspace, mark)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(mark, encoding="ascii")
    try:
        yield mark
    finally:
        path.unlink(missing_ok=True)


def unshared(request: TrainRequest, mark: str, node: str) -> tuple[Problem, ...]:
    """What of a trial's files this machine does not see; `node` is its name."""
    workspace = request.workspace
    try:
        same = _marked(workspace, mark).read_text(encoding="ascii") == mark
    except OSError:
        same = False
    if not same:
        return (Problem(f"this folder is not the workspace there: {workspace.root}", node, _SHARE),)
    try:
        needed = _files_of(request)
    except ToolkitError as error:
        return error.problems
    missing = [path for path in needed if not os.access(path, os.R_OK)]
    return tuple(Problem(f"{path} cannot be read there", node, _SHARE) for path in missing[:1])


def check_nodes(requests: Sequence[TrainRequest], mark: str) -> tuple[Node, ...]:
    """The nodes that trials may run on.

    Raises:
        MachineError: with every node that does not see the workspace or the images, or has no toolkit.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    nodes = [_node(node) for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) > 0]
    ask = ray.remote(num_cpus=0, max_retries=0)(_find_problems)
    text = requests[0].to_json()
    reports = {
        node: ask.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node.identity, soft=False)).remote(
            text, mark
        )
        for node in nodes
    }
    problems = [problem for node, answer in reports.items() for problem in _answer(node, answer)]
    if not nodes:
        problems.append(Problem("no node has free CPUs", "ray status", "start one: ray start --address HOST:PORT"))
    if problems:
        raise MachineError.from_problems(problems)
    return tuple(nodes)


def node_name() -> str:
    """This machine's, as problems name it."""
    import ray

    return f"node {socket.gethostname()} ({ray.util.get_node_ip_address()})"


def _find_problems(text: str, mark: str) -> tuple[Problem, ...]:
    """A task: what this node does not see."""
    return unshared(TrainRequest.from_json(text), mark, node_name())


def _answer(node: Node, answer: object) -> Sequence[Problem]:
    import ray

    try:
        problems: Sequence[Problem] = ray.get(answer, timeout=_ANSWER_S)
    except ray.exceptions.RayError as error:
        last = str(error).strip().splitlines()[-1]
        remedy = "install the same environment on every node, or stop that node"
        return (Problem(f"the toolkit cannot be started there: {last}", f"node {node.name}", remedy),)
    return problems


def _node(node: dict[str, object]) -> Node:
    resources = node["Resources"]
    assert isinstance(resources, dict)  # noqa: S101 - so Ray documents it
    name = f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
    return Node(name, str(node["NodeID"]), float(resources["CPU"]), int(resources.get("memory", 0)))


def _files_of(request: TrainRequest) -> list[Path]:
    """The images, and a file that the initial weights are in."""
    images = [image.path for image in data.read_manifest(request.split, request.workspace)]
    named = request.trial.weights in {"imagenet", "none"}
    return [*images, *([] if named else [request.experiment.resolve_path(request.trial.weights)])]


def _marked(workspace: Workspace, mark: str) -> Path:
    return workspace.root / "cache" / "sweeps" / mark
