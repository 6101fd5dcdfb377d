"""Open a device's live app through an SSH tunnel: the running app, or one started for this purpose."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from toolkit.artifacts.fleet import Device
from toolkit.device.layout import CURRENT
from toolkit.device.runtime.accelerators import START_TIMEOUT_S
from toolkit.errors import FleetError
from toolkit.fleet import device_command
from toolkit.fleet.ssh.connection import connect
from toolkit.fleet.ssh.shell import Shell
from toolkit.fleet.ssh.ssh_errors import forwarding_error
from toolkit.fleet.ssh.tunnel import ADDRESS, tunnel

APP_PORT, DEFAULT_PORT = "toolkit_app_port", 8080
"""The inventory's variable for the port of the app; 0: there is none."""


@dataclass(frozen=True, slots=True)
class AppSession:
    """A device's app, reachable from this machine."""

    device: str
    url: str
    started: bool
    """It was started for this session and ends with it."""


@contextmanager
def open_app(device: Device, source: str | None = None) -> Iterator[AppSession]:
    """Give access to the device's app for the length of a with-block; with `source`, start one that reads frames from it.

    Raises:
        FleetError: the device cannot be reached, has no release, or its app does not start; says why.
    """
    port = int(str(device.variables.get(APP_PORT, DEFAULT_PORT)))
    with connect(device) as shell:
        if port and source is None:
            with tunnel(shell, port) as local_port:
                if _is_app(local_port):
                    yield AppSession(device.name, _url(local_port), started=False)
                    return
        with _start_app(device, shell, source or "pattern") as port, tunnel(shell, port) as local_port:
            if not _is_app(local_port):
                raise forwarding_error(device)
            yield AppSession(device.name, _url(local_port), started=True)


def _url(port: int) -> str:
    return f"http://{ADDRESS}:{port}/"


def _is_app(port: int) -> bool:
    """Return whether the app answers at a local port."""
    connection = http.client.HTTPConnection(ADDRESS, port, timeout=10)
    try:
        connection.request("GET", "/health")
        return "ok" in json.loads(connection.getresponse().read())
    except (OSError, http.client.HTTPException, ValueError, TypeError):
        return False
    finally:
        connection.close()


@contextmanager
def _start_app(device: Device, shell: Shell, source: str) -> Iterator[int]:
    """Start an app that ends with this block or with the connection, and give its port."""
    folder = f"{device.root}/{CURRENT}"
    if shell.run(["test", "-d", folder]).code:
        raise FleetError("has no release", where=device.name, remedy=f"toolkit deploy BUNDLE --limit {device.name}")
    options = ("--port", "0", "--stop-on-eof", "--source", source, "--accelerator", device.accelerator)
    command = device_command.in_runtime(device, folder, "serve", folder, *options, network="host")
    with shell.background(command, timeout=START_TIMEOUT_S) as output:
        yield _port(device, output)


def _port(device: Device, output: str) -> int:
    try:
        answer: dict[str, Any] = json.loads(output)
    except ValueError:
        remedy = "check that its release contains the app: deploy it again"
        raise FleetError("the live app did not start", where=device.name, remedy=remedy) from None
    if not answer.get("ok"):
        error = answer.get("error") or {}
        what = f"the live app did not start: {error.get('what')}"
        raise FleetError(what, where=device.name, remedy=error.get("remedy", ""))
    return int(answer["port"])
