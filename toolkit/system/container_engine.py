"""This machine's container engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolkit.errors import MachineError

if TYPE_CHECKING:
    from docker import DockerClient


def docker_client() -> DockerClient:
    """A connection to it.

    Raises:
        MachineError: none answers, or the docker package is missing.
    """
    try:
        import docker
    except ImportError:
        raise MachineError("the Python package docker is not installed", remedy="pip install docker") from None
    try:
        client: DockerClient = docker.from_env()
        client.ping()
    except docker.errors.DockerException as error:
        raise MachineError(
            f"no container engine answers: {error}", remedy="start one; in a checkout, as root: just engine up"
        ) from None
    return client
