"""The app under many clients of many addresses, some of them hostile; `just bench load` runs the whole minute."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks.load import request, run
from toolkit.device.app.web.http import BODY_BYTES, SLOW_AFTER_S, BodyMemory, HttpError
from toolkit.device.app.web.predictions import PREDICTIONS_PER_ADDRESS
from toolkit.device.app.web.server import CONNECTIONS, CONNECTIONS_PER_ADDRESS, Connection, Server

from ..conftest import App, Serve
from .test_server import nothing

IMAGE = bytes(cv2.imencode(".png", np.full((60, 80, 3), 240, np.uint8))[1])


def connect(app: App, address: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", app.port), 30, source_address=(address, 0))


def head_of(connection: socket.socket) -> bytes:
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(65_536)
        if not piece:
            break
        received += piece
    return received


@pytest.mark.slow
def test_each_address_is_served_beside_hostile_clients(root: Path) -> None:
    load = run((root / "current").resolve(), IMAGE, clients=200, seconds=10)
    assert sum(load.clients.values()) == 200
    assert len(load.served) == load.addresses == 20
    assert load.problems() == []


@pytest.mark.slow
def test_slow_body_is_refused_and_takes_no_prediction(serve: Serve, root: Path) -> None:
    app = serve(root / "current", "--source", "none", "--predictions", "0.001")
    with connect(app, "127.0.0.9") as slow:
        slow.sendall(request("/v1/predict", "POST", 1_000_000))
        begin = time.monotonic()
        with contextlib.suppress(OSError):
            while time.monotonic() < begin + SLOW_AFTER_S + 1:
                slow.sendall(b"x")
                time.sleep(0.5)
        assert head_of(slow).startswith(b"HTTP/1.1 408 ")
    with connect(app, "127.0.0.9") as quick:
        quick.sendall(request("/v1/predict", "POST", len(IMAGE)) + IMAGE)
        assert head_of(quick).startswith(b"HTTP/1.1 200 ")


@pytest.mark.slow
def test_limits_of_an_address_do_not_hold_for_another(serve: Serve, root: Path) -> None:
    app = serve(root / "current", "--source", "none")
    with contextlib.ExitStack() as stack:
        for _ in range(PREDICTIONS_PER_ADDRESS):
            pending = stack.enter_context(connect(app, "127.0.0.8"))
            pending.sendall(request("/v1/predict", "POST", len(IMAGE)) + IMAGE[:-1])
        time.sleep(0.5)
        statuses = {}
        for address in ("127.0.0.8", "127.0.0.7"):
            asks = stack.enter_context(connect(app, address))
            asks.sendall(request("/v1/predict", "POST", len(IMAGE)) + IMAGE)
            statuses[address] = head_of(asks)[9:12]
    assert statuses == {"127.0.0.8": b"429", "127.0.0.7": b"200"}


@pytest.mark.slow
def test_bodies_in_memory_have_one_limit_and_are_released(serve: Serve, root: Path) -> None:
    app = serve(root / "current", "--source", "none")
    part = b"\x89PNG".ljust(BODY_BYTES - 1)
    with contextlib.ExitStack() as stack:
        pending = []
        for number in range(6):
            one = stack.enter_context(connect(app, f"127.0.1.{number + 1}"))
            one.sendall(request("/v1/predict", "POST", BODY_BYTES))
            with contextlib.suppress(OSError):
                one.sendall(part)
            pending.append(one)
        received = []
        for one in pending:
            with contextlib.suppress(OSError):
                one.sendall(b"x")
                received.append(head_of(one)[9:12])
    assert received.count(b"503") >= 1, received
    assert app.ask("/v1/predict", "POST", IMAGE, Content_Type="image/png").status == 200


def test_body_memory_counts_until_it_is_released() -> None:
    memory = BodyMemory(100)
    memory.take(60)
    with pytest.raises(HttpError, match="too many bodies"):
        memory.take(60)
    memory.take(-120)
    memory.take(100)


@pytest.mark.slow
def test_client_that_reads_nothing_and_leaves_a_stream_is_closed(serve: Serve, root: Path) -> None:
    """It sends a byte, which ends its stream, while the app still holds what it never read."""
    app = serve(root / "current", "--fps", "60")
    with contextlib.ExitStack() as stack:
        unread_streams = [stack.enter_context(unread(app, "/stream")) for _ in range(3)]
        wait_until(lambda: [held for _, held in server_side(app)].count(0) == 1, "the buffers of three clients fill")
        time.sleep(3)
        for one in unread_streams:
            one.sendall(b"x")
        wait_until(lambda: server_side(app) == [("0A", 0)], "nothing is left but the listening socket")
    assert app.end()[2] == "camera test pattern: frames come\n"


def server_side(app: App) -> list[tuple[str, int]]:
    """The state of each socket of the app, and the bytes that the kernel holds for its client."""
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines())
    return [(row[3], int(row[4][:8], 16)) for row in rows if row[1].endswith(f":{app.port:04X}")]


def wait_until(condition: Callable[[], bool], expected: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, expected
        time.sleep(0.2)


@contextlib.contextmanager
def unread(app: App, path: str) -> Iterator[socket.socket]:
    """A connection with a small buffer, so that the app has to hold what is not read."""
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.connect(("127.0.0.1", app.port))
        one.sendall(request(path))
        yield one


@pytest.mark.slow
def test_client_that_leaves_in_its_body_is_no_failure(serve: Serve, root: Path) -> None:
    app = serve(root / "current", "--source", "none")
    with connect(app) as one:
        one.sendall(request("/v1/predict", "POST", 1000) + b"x")
    assert app.ask("/health").status == 200
    assert app.end()[2] == ""


class _Writer:
    """The writer of a connection that the server may close."""

    def __init__(self) -> None:
        self.transport = self
        self.aborted = False

    def get_extra_info(self, name: str) -> None:
        """It has none."""

    def abort(self) -> None:
        self.aborted = True


def crowd(server: Server, peer: str, count: int, *, busy: bool = False) -> list[Any]:
    writers = []
    for _ in range(count):
        writer: Any = _Writer()
        connection = Connection(peer, writer)
        if busy:
            connection.idle_since = None
        key: Any = writer
        server._open[key] = connection
        writers.append(writer)
    return writers


def test_full_address_loses_its_longest_idle_connection() -> None:
    server = Server(nothing, "127.0.0.1", 0)
    own, others = crowd(server, "192.0.2.1", CONNECTIONS_PER_ADDRESS), crowd(server, "192.0.2.2", 9)
    new = Connection("192.0.2.1", crowd(server, "192.0.2.1", 1)[0])
    server._make_room(new)
    assert [writer.aborted for writer in own] == [True] + [False] * (len(own) - 1)
    assert not any(writer.aborted for writer in others)
    server.end(1)


def test_full_server_closes_idle_connections_of_busiest_address() -> None:
    server = Server(nothing, "127.0.0.1", 0)
    many, few = crowd(server, "192.0.2.1", CONNECTIONS - 1), crowd(server, "192.0.2.2", 1)
    new = Connection("192.0.2.3", crowd(server, "192.0.2.3", 1)[0])
    server._make_room(new)
    assert (sum(writer.aborted for writer in many), few[0].aborted) == (1, False)
    for connection in server._open.values():
        connection.idle_since = None
    with pytest.raises(HttpError) as refused:
        server._make_room(new)
    assert refused.value.status == 503
    server.end(1)
