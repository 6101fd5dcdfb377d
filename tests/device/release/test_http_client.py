"""What a hostile registry, or whoever sits between, can do to a device that pulls."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.device.errors import DeviceEnvironmentError, DeviceError
from toolkit.device.release import http_client, oci_registry
from toolkit.device.release.http_client import Credentials, HttpClient, origin_of
from toolkit.device.release.oci_registry import Registry, _has_layers

Respond = Callable[[BaseHTTPRequestHandler], None]


class Server(ThreadingHTTPServer):
    """Calls `respond` for each request and keeps what it was sent."""

    daemon_threads = True

    def __init__(self, respond: Respond) -> None:
        self.seen: list[tuple[str, str, str]] = []
        self.connections = 0
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                server.connections += 1

            def _any(self) -> None:
                server.seen.append((self.command, self.path, self.headers.get("Authorization", "")))
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                respond(self)

            def __getattr__(self, name: str) -> Any:
                if name.startswith("do_"):
                    return self._any
                raise AttributeError(name)

            def log_message(self, *arguments: Any) -> None:
                """Not of interest."""

        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


def answer(status: int, body: bytes = b"", **headers: str) -> Respond:
    def respond(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return respond


@pytest.fixture
def serve() -> Iterator[Callable[[Respond], Server]]:
    servers: list[Server] = []

    def start(respond: Respond) -> Server:
        servers.append(Server(respond))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_credentials_do_not_follow_a_redirect(serve: Callable[[Respond], Server]) -> None:
    thief = serve(answer(200, b"bytes"))
    registry = serve(answer(307, Location=f"{thief.url}/blob"))
    credentials = Credentials(origin_of(registry.url), "Basic c2VjcmV0")
    assert HttpClient().request("GET", registry.url + "/v2", credentials=credentials).body == b"bytes"
    assert registry.seen == [("GET", "/v2", "Basic c2VjcmV0")]
    assert thief.seen == [("GET", "/blob", "")]


def registry_of(server: Server) -> Registry:
    return Registry(f"127.0.0.1:{server.server_port}", "models/a", "stable", "me:secret")


def test_password_does_not_follow_an_upload_location(serve: Callable[[Respond], Server]) -> None:
    thief = serve(answer(201))

    def respond(handler: BaseHTTPRequestHandler) -> None:
        if not handler.headers.get("Authorization"):
            answer(401, WWW_Authenticate='Basic realm="x"')(handler)
        elif handler.command == "HEAD":
            answer(404)(handler)
        else:
            answer(202, Location=f"{thief.url}/upload")(handler)

    registry = serve(respond)
    registry_of(registry).put_blob(b"state")
    assert any(header.startswith("Basic ") for _, _, header in registry.seen)
    assert [header for _, _, header in thief.seen] == [""]


def test_password_is_not_sent_to_another_hosts_token_service(serve: Callable[[Respond], Server]) -> None:
    thief = serve(answer(200, b'{"token": "anonymous"}'))
    registry = serve(answer(401, WWW_Authenticate=f'Bearer realm="{thief.url}/token",service="r"'))
    with pytest.raises(DeviceError, match="requires a login"):
        registry_of(registry).manifest()
    assert [header for _, _, header in thief.seen] == [""]
    assert registry.seen[-1][2] == "Bearer anonymous"


@pytest.mark.parametrize("location", ["ftp://127.0.0.1/x", "file:///etc/passwd", "http://user:pw@127.0.0.1/", "//"])
def test_redirect_to_what_is_not_http_is_refused(serve: Callable[[Respond], Server], location: str) -> None:
    with pytest.raises((OSError, ValueError)):
        HttpClient().request("GET", serve(answer(302, Location=location)).url)


def test_redirect_from_tls_to_plain_http_is_refused() -> None:
    with pytest.raises(OSError, match="redirects from https to"):
        http_client._redirect_target("https://registry.test/v2/", "http://registry.test/v2/")


def test_endless_redirects_end(serve: Callable[[Respond], Server]) -> None:
    with pytest.raises(OSError, match="redirects more than 5 times"):
        HttpClient().request("GET", serve(answer(302, Location="/again")).url)


def test_endless_body_is_cut_off(serve: Callable[[Respond], Server]) -> None:
    def respond(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(bytes(1 << 16))
        except OSError:
            return

    with pytest.raises(OSError, match="more than 1000000 bytes"):
        HttpClient().request("GET", serve(respond).url, limit=1_000_000)


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\n", b""])
def test_dripping_server_is_left_at_the_deadline(head: bytes) -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def drip() -> None:
        connection, _ = listening.accept()
        try:
            connection.sendall(head)
            while not ended.wait(0.05):
                connection.sendall(b"X")
        except OSError:
            return

    threading.Thread(target=drip, daemon=True).start()
    begin = time.monotonic()
    with pytest.raises(OSError, match=r"did not answer within 0\.5 s"):
        HttpClient(deadline_s=0.5).request("GET", f"http://127.0.0.1:{listening.getsockname()[1]}/")
    assert time.monotonic() - begin < 5
    ended.set()
    listening.close()


def test_connection_is_replaced_when_server_closes_it(serve: Callable[[Respond], Server]) -> None:
    server = serve(answer(200, b"x"))
    client = HttpClient()
    for _ in range(5):
        client.request("GET", server.url)
    assert server.connections == 1
    next(iter(client._connections.values())).sock.shutdown(socket.SHUT_RDWR)
    assert client.request("GET", server.url).body == b"x"
    assert server.connections == 2


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b"[" * 100_000, b'{"layers": [{"digest": 5}]}', b'{"layers": [{"annotations": []}]}']
)
def test_manifest_that_is_none_is_one_error(serve: Callable[[Respond], Server], body: bytes) -> None:
    with pytest.raises(DeviceError, match="contains no release"):
        registry_of(serve(answer(200, body))).manifest()


def test_blob_with_other_bytes_is_refused(serve: Callable[[Respond], Server]) -> None:
    with pytest.raises(DeviceError, match="sends other bytes"):
        registry_of(serve(answer(200, b"other"))).blob(oci_registry.oci_digest(b"right"))


def test_server_that_fails_is_tried_again(serve: Callable[[Respond], Server], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oci_registry, "_PAUSE_S", 0.01)
    server = serve(answer(503))
    with pytest.raises(DeviceEnvironmentError, match="answers 503"):
        registry_of(server).manifest()
    assert len(server.seen) == oci_registry.TRIES


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["layers", "digest", "annotations"]), inner),
)


@pytest.mark.slow
@given(JSON)
def test_has_layers_never_fails(manifest: Any) -> None:
    assert _has_layers(manifest) in {True, False}
