"""The live app of a device, as if it were here: through a tunnel to where it answers, or to one that is started for the while."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from toolkit.artifacts.fleet import Device
from toolkit.errors import FleetError
from toolkit.fleet import device_command
from toolkit.fleet.ssh.connection import SshShell, connect
from toolkit.fleet.ssh.tunnel import ADDRESS, tunnel

APP_PORT, DEFAULT_PORT = "toolkit_app_port", 8080
"""The inventory's variable for where the app answers; 0 is nowhere."""
START_S = 600.0
"""A stick takes minutes to load a large network."""


@dataclass(frozen=True, slots=True)
class AppSession:
    """Where a device's app can be looked at from here."""

    device: str
    url: str
    started: bool
    """It was started to be looked at, and ends with that."""


@contextmanager
def open_app(device: Device, source: str | None = None) -> Iterator[AppSession]:
    """The device's app for the length of a with-block. With a `source` it is one of its own, with that for a camera.

    Raises:
        FleetError: the device cannot be reached, has no release, or its app does not start; says why.
    """
    port = int(str(device.variables.get(APP_PORT, DEFAULT_PORT)))
    with connect(device) as shell:
        assert isinstance(shell, SshShell)  # noqa: S101 - the only kind that `connect` makes
        if port and source is None:
            with tunnel(shell, port) as here:
                if _answers(here):
                    yield AppSession(device.name, _url(here), started=False)
                    return
        with _started(device, shell, source or "pattern") as there, tunnel(shell, there) as here:
            yield AppSession(device.name, _url(here), started=True)


def _url(port: int) -> str:
    return f"http://{ADDRESS}:{port}/"


def _answers(port: int) -> bool:
    """Whether the app is at the other end."""
    connection = http.client.HTTPConnection(ADDRESS, port, timeout=10)
    try:
        connection.request("GET", "/health")
        return "ok" in json.loads(connection.getresponse().read())
    except (OSError, http.client.HTTPException, ValueError, TypeError):
        return False
    finally:
        connection.close()


@contextmanager
def _started(device: Device, shell: SshShell, source: str) -> Iterator[int]:
    """The port of an app that ends when this does, or when the connection is lost."""
    folder = f"{device.root}/current"
    if shell.run(["test", "-d", folder]).code:
        raise FleetError("has no release", where=device.name, remedy="toolkit deploy BUNDLE --limit " + device.name)
    asked = ("--port", "0", "--stop-on-eof", "--source", source, "--accelerator", device.accelerator)
    with shell.background(
        device_command.in_runtime(device, folder, "serve", folder, *asked, network="host"), timeout=START_S
    ) as said:
        yield _port(device, said)


def _port(device: Device, said: str) -> int:
    try:
        answer: dict[str, Any] = json.loads(said)
    except ValueError:
        raise FleetError(
            "the live app did not start", where=device.name, remedy="see whether its release holds one: deploy it again"
        ) from None
    if not answer.get("ok"):
        error = answer.get("error") or {}
        raise FleetError(
            f"the live app did not start: {error.get('what')}", where=device.name, remedy=error.get("remedy", "")
        )
    return int(answer["port"])
