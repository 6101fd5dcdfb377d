"""Run a verb of the toolkit in its training container image: same arguments, same paths, another TensorFlow.

Every folder that the experiment names is mounted at its own path, read-only; the workspace is writable. Paths therefore mean
the same inside and outside, and files from the container belong to the same user.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from toolkit.errors import MachineError
from toolkit.system import container_engine
from toolkit.system.cache_dirs import cache_dir

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

    from toolkit.experiment.schema import Experiment

CONTAINER_IMAGE = "edge-vision/train:dev"
"""What `toolkit build train` makes."""
CACHE = "/cache"
"""Where the container image keeps what it fetches (its XDG_CACHE_HOME)."""
PASSED_ON = (
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "TOOLKIT_TRACK",
    "TOOLKIT_TUNE",
)
"""Variables of this process that the container sees as well, if they are set."""


def run_in_container(
    argv: Sequence[str], readable: Sequence[Path], workspace: Path, container_image: str = CONTAINER_IMAGE
) -> int:
    """Run `toolkit WORDS` in `container-image`; its output goes to this process's, and its exit code comes back.

    Ctrl-C is handed on, so that what was finished there is kept.

    Raises:
        MachineError: there is no engine, no such container image, or the docker package is missing.
    """
    workspace.mkdir(parents=True, exist_ok=True)
    client = container_engine.docker_client()
    with _container(client, list(argv), _mounts(readable, workspace), container_image) as container:
        stream = container.attach(stream=True, demux=True, logs=True)
        container.start()
        with _handing_on(container):
            for out, err in stream:
                _write(sys.stdout, out)
                _write(sys.stderr, err)
            return int(container.wait()["StatusCode"])


def mounts_for(experiment: Experiment) -> tuple[Path, ...]:
    """The files and folders that an experiment reads: its own, its data's, its weights', wherever they lie."""
    named = [experiment.data.path, experiment.data.class_names]
    if experiment.data.source == "csv" and experiment.data.path:
        named.append(experiment.data.path.parent)  # the images lie beside the list
    if experiment.reject:
        named.append(experiment.reject.strangers_folder)
    for table in experiment.networks.values():
        named += [Path(word) for word in (table.weights, table.body) if word and word not in {"imagenet", "none"}]
    return (experiment.origin, *(experiment.resolve_path(path) for path in named if path is not None))


@contextmanager
def _container(
    client: DockerClient, argv: list[str], mounts: dict[str, dict[str, str]], container_image: str
) -> Iterator[Container]:
    """A container that is gone afterwards, whatever happens."""
    import docker

    try:
        made = client.containers.create(
            container_image,
            argv,
            volumes=mounts,
            user=f"{os.getuid()}:{os.getgid()}",
            working_dir=str(Path.cwd()),
            environment={name: os.environ[name] for name in PASSED_ON if name in os.environ},
            init=True,
        )
    except docker.errors.ImageNotFound:
        raise MachineError("no such container image", where=container_image, remedy="toolkit build train") from None
    try:
        yield made
    finally:
        made.remove(force=True)


def _mounts(readable: Sequence[Path], workspace: Path) -> dict[str, dict[str, str]]:
    """Each at its own path; what lies within the workspace comes with it, and so do the wheels fetched here."""
    wheel_cache_folder = cache_dir("wheels")
    wheel_cache_folder.mkdir(parents=True, exist_ok=True)
    whole = workspace.resolve()
    mounts = {str(path.resolve()): {"bind": str(path.absolute()), "mode": "ro"} for path in readable if path.exists()}
    mounts = {place: mount for place, mount in mounts.items() if not Path(place).is_relative_to(whole)}
    mounts[str(wheel_cache_folder)] = {
        "bind": f"{CACHE}/{wheel_cache_folder.parent.name}/{wheel_cache_folder.name}",
        "mode": "rw",
    }
    mounts[str(whole)] = {"bind": str(workspace.absolute()), "mode": "rw"}
    return mounts


@contextmanager
def _handing_on(container: Container) -> Iterator[None]:
    """A first Ctrl-C asks the container to end as it would here; a second one ends it."""
    before = signal.getsignal(signal.SIGINT)

    def ask(number: int, frame: FrameType | None) -> None:
        del number, frame
        signal.signal(signal.SIGINT, before)
        container.kill("SIGINT")

    signal.signal(signal.SIGINT, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _write(stream: object, content: bytes | None) -> None:
    if content:
        stream.buffer.write(content)  # type: ignore[attr-defined]  # stdout and stderr as Python makes them
        stream.flush()  # type: ignore[attr-defined]
