from __future__ import annotations

import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.device.app.web.auth import Auth, read_token
from toolkit.device.app.web.content_security import csp_header
from toolkit.device.app.web.http import HttpError, body_length, parse_head
from toolkit.device.app.web.rate_limit import CLIENTS, RateLimiter
from toolkit.device.app.web.server import CONNECTIONS
from toolkit.device.errors import DeviceError

from ..conftest import Serve

NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,20}", fullmatch=True)
VALUES = st.from_regex(r"[!-~]([ -~]{0,30}[!-~])?", fullmatch=True)


@given(st.sampled_from(["GET", "POST", "DELETE"]), st.dictionaries(NAMES, VALUES, max_size=8))
def test_parse_head_reads_what_was_written(method: str, fields: dict[str, str]) -> None:
    fields = {name.lower(): value for name, value in fields.items()} | {"host": "localhost"}
    lines = [f"{method} /v1/state?x=1 HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    assert parse_head("\r\n".join((*lines, "", "")).encode()) == (method, "/v1/state", 1, fields)


@given(st.binary(max_size=200))
def test_parse_head_refuses_or_reads_and_never_fails(content: bytes) -> None:
    try:
        method, path, _, _ = parse_head(content + b"\r\n\r\n")
    except HttpError as error:
        status, method, path = error.status, "", "/"
    else:
        status = 200
    assert status in {200, 400}
    assert method == method.upper()
    assert path.startswith("/")


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: a\n\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 501),
    ],
)
def test_request_that_could_be_read_in_two_ways_is_refused(head: bytes, status: int) -> None:
    with pytest.raises(HttpError) as refused:
        body_length(parse_head(head)[3])
    assert refused.value.status == status


def converse(port: int, sent: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while piece := connection.recv(65536):
            received += piece
    return received


@pytest.mark.slow
def test_server_answers_in_sequence_and_refuses_when_too_long(serve: Serve, root: Path) -> None:
    app = serve(root / "current", "--source", "none")
    one = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    assert converse(app.port, one * 3).count(b'{"ok": true}') == 3
    head = b"HEAD /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    assert converse(app.port, head + one).count(b'{"ok": true}') == 1
    unread = b"POST /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody"
    received = converse(app.port, unread + one)
    assert received.startswith(b"HTTP/1.1 405 ")
    assert b"Allow: GET" in received
    assert received.endswith(b'{"ok": true}')
    long = b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 20_000 + b"\r\n\r\n"
    assert converse(app.port, long).startswith(b"HTTP/1.1 431 ")
    assert converse(app.port, b"\x16\x03\x01 not HTTP at all\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    assert b"100 Continue" in converse(
        app.port,
        b"POST /v1/model HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Type: application/json\r\n"
        b"Content-Length: 2\r\n\r\n{}",
    )
    assert app.end()[2] == ""


@pytest.mark.slow
def test_silent_connections_give_way_to_one_that_asks(serve: Serve, root: Path) -> None:
    app = serve(root / "current", "--source", "none")
    silent = [socket.create_connection(("127.0.0.1", app.port), 20) for _ in range(CONNECTIONS + 8)]
    try:
        received = converse(app.port, b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    finally:
        for connection in silent:
            connection.close()
    assert received.startswith(b"HTTP/1.1 200 ")


def test_buckets_give_a_burst_and_then_a_rate() -> None:
    now = [0.0]
    buckets = RateLimiter(rate=2, burst=3, clock=lambda: now[0])
    assert [buckets.wait_s("a") for _ in range(3)] == [0, 0, 0]
    assert buckets.wait_s("a") == 0.5
    assert buckets.wait_s("b") == 0
    now[0] = 0.5
    assert buckets.wait_s("a") == 0
    assert buckets.wait_s("a") > 0


def test_buckets_forget_who_was_silent_longest() -> None:
    buckets = RateLimiter(rate=1e-9, burst=1, clock=lambda: 0.0)
    assert buckets.wait_s("first") == 0
    for number in range(CLIENTS):
        buckets.wait_s(str(number))
    assert buckets.wait_s("first") == 0


def test_session_ends_when_expired_or_process_restarts(monkeypatch: pytest.MonkeyPatch) -> None:
    auth = Auth("x" * 20)
    until, seal = auth.session(secure=True).partition(";")[0].partition("=")[2].split(".")
    assert auth._is_session(until, seal)
    assert not Auth("x" * 20)._is_session(until, seal)
    monkeypatch.setattr("toolkit.device.app.web.auth.time.time", lambda: int(until) + 1)
    assert not auth._is_session(until, seal)


@pytest.mark.parametrize(("content", "mode"), [("short", 0o600), ("x" * 30, 0o644), ("", 0o600)])
def test_read_token_refuses_what_is_no_secret(tmp_path: Path, content: str, mode: int) -> None:
    (tmp_path / "token").write_text(content)
    (tmp_path / "token").chmod(mode)
    with pytest.raises(DeviceError, match="token"):
        read_token(tmp_path / "token")


def test_policy_names_the_pages_own_script_by_digest() -> None:
    received = csp_header("<style>a{}</style><script>b()</script>")
    assert "script-src 'sha256-" in received
    assert "unsafe" not in received
    assert "script-src 'none'" in csp_header("<style>a{}</style>")
