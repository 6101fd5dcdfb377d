"""The live app of a device of the local fleet, through a real SSH server."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from toolkit.artifacts.fleet import Device
from toolkit.deploy import deploy
from toolkit.errors import FleetError
from toolkit.fleet import connect
from toolkit.fleet.app_tunnel import open_app
from toolkit.fleet.ssh.tunnel import tunnel


@pytest.fixture
def serving(devices: tuple[Device, ...], tiny_bundle: Path) -> Device:
    """A device that has the tiny bundle."""
    done = deploy(tiny_bundle, devices[:1])
    assert not done.failed, done.failed
    return devices[0]


def get(port: int, path: str) -> dict[str, object]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("GET", path)
        result: dict[str, object] = json.loads(connection.getresponse().read())
        return result


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2].strip("/"))


@pytest.mark.slow
def test_live_starts_an_app_and_ends_it(serving: Device) -> None:
    with open_app(serving) as seen:
        assert (seen.device, seen.started) == (serving.name, True)
        port = port_of(seen.url)
        assert get(port, "/health") == {"ok": True}
        state = get(port, "/v1/state")
        assert (state["name"], state["source"]) == ("tiny-softmax-top-fp32", "test pattern")
    with pytest.raises(OSError):
        get(port, "/health")


@pytest.mark.slow
def test_live_finds_the_app_that_the_device_serves(serving: Device) -> None:
    with open_app(serving) as own:
        with open_app(serving) as other:
            assert port_of(other.url) != port_of(own.url)
        there = replace(serving, variables={**serving.variables, "toolkit_app_port": port_of(own.url)})
        with open_app(there) as result:
            assert not result.started
            assert get(port_of(result.url), "/health") == {"ok": True}


@pytest.mark.slow
def test_live_says_what_is_missing(devices: tuple[Device, ...], serving: Device) -> None:
    with (
        pytest.raises(FleetError, match="has no release"),
        open_app(replace(devices[1], root=devices[1].root + "-bare")),
    ):
        pass
    with pytest.raises(FleetError, match="neither a camera nor a file"), open_app(serving, source="/no/such/file.mp4"):
        pass


@pytest.fixture
def echo() -> Iterator[int]:
    """A port on this machine, which is the device's too, that says everything back."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                threading.Thread(target=say_back, args=(connection,), daemon=True).start()

        def say_back(connection: socket.socket) -> None:
            with connection:
                while piece := connection.recv(1 << 16):
                    connection.sendall(piece)

        threading.Thread(target=answer, daemon=True).start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)


def test_tunnel_carries_everything_both_ways(devices: tuple[Device, ...], echo: int) -> None:
    content = bytes(range(256)) * 4096
    with connect(devices[0]) as shell, tunnel(shell, echo) as here:
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", here), 30) as connection:
                threading.Thread(target=connection.sendall, args=(content,), daemon=True).start()
                received = b""
                while len(received) < len(content):
                    received += connection.recv(1 << 16)
                assert received == content


def test_tunnel_closes_a_connection_when_nobody_answers_there(devices: tuple[Device, ...]) -> None:
    with (
        connect(devices[0]) as shell,
        tunnel(shell, 1) as here,
        socket.create_connection(("127.0.0.1", here), 30) as connection,
    ):
        assert connection.recv(1) == b""


def test_tunnel_reaches_loopback_alone(devices: tuple[Device, ...]) -> None:
    import paramiko

    with connect(devices[0]) as shell, pytest.raises(paramiko.ChannelException):
        shell._connections[0].transport.open_channel("direct-tcpip", ("192.0.2.1", 22), ("127.0.0.1", 0))
