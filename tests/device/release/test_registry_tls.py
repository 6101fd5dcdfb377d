"""Registries that speak plain HTTP where TLS is expected, or whose certificate nobody vouches for."""

from __future__ import annotations

import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from toolkit.device.errors import DeviceError
from toolkit.device.release.oci_registry import CONNECTIONS, Registry, oci_digest


class _Nothing(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


class _Blobs(BaseHTTPRequestHandler):
    """Holds the blobs of the numbers below 1,000."""

    protocol_version = "HTTP/1.1"
    contents: ClassVar = {oci_digest(str(number).encode()): str(number).encode() for number in range(1000)}

    def do_GET(self) -> None:
        content = self.contents.get(self.path.rpartition("/")[2])
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def problem(monkeypatch: pytest.MonkeyPatch, certificate: Path | None = None) -> DeviceError:
    """What a registry says that TLS is expected of."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Nothing)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr("toolkit.device.release.oci_registry._LOOPBACK", ())  # which is excepted from TLS
    try:
        with pytest.raises(DeviceError) as caught:
            Registry(f"127.0.0.1:{server.server_port}", "vision", "stable", "", False, ()).manifest()
    finally:
        server.shutdown()
        server.server_close()
    return caught.value


def test_plain_http_is_named_with_the_option(monkeypatch: pytest.MonkeyPatch) -> None:
    error = problem(monkeypatch)
    assert error.what == "speaks plain HTTP, without TLS"
    assert "--plain-http" in error.remedy


def own_certificate(folder: Path) -> Path:
    """Return a certificate for 127.0.0.1 with its key, which nobody vouches for."""
    file = folder / "own.pem"
    options = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=registry -addext subjectAltName=IP:127.0.0.1"
    subprocess.run(
        ["openssl", *options.split(), "-keyout", file, "-out", folder / "c"], check=True, capture_output=True
    )
    file.write_text(file.read_text() + (folder / "c").read_text())
    return file


@pytest.fixture
def handshakes() -> list[str]:
    """The TLS version of each handshake."""
    return []


@pytest.fixture
def registry(handshakes: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Registry]:
    """A registry that speaks TLS."""
    certificate = own_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Blobs)

    class Counting(ssl.SSLSocket):
        def do_handshake(self, block: bool = False) -> None:
            super().do_handshake(block)
            handshakes.append(self.version() or "")

    context.sslsocket_class = Counting
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr("toolkit.device.release.oci_registry._LOOPBACK", ())
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    registry = Registry(f"127.0.0.1:{server.server_port}", "vision", "stable", "", False, ())
    yield registry
    registry.close()
    server.shutdown()
    server.server_close()


@pytest.mark.slow
@pytest.mark.parametrize(("kept_open", "expected"), [(True, 1), (False, 113)])
def test_a_first_pull_shakes_hands_once(
    registry: Registry, handshakes: list[str], kept_open: bool, expected: int
) -> None:
    """As many requests as a first pull of MobileNetV2 makes; with connections that are closed after each, for comparison."""
    for number in range(113):
        content = str(number).encode()
        assert registry.blob(oci_digest(content)) == content
        if not kept_open:
            registry.close()
    assert len(handshakes) == expected


@pytest.mark.parametrize(("count", "connections"), [(1, 1), (7, 1), (8, 2), (113, CONNECTIONS)])
def test_many_blobs_are_fetched_over_several_connections(
    registry: Registry, handshakes: list[str], count: int, connections: int
) -> None:
    expected = {oci_digest(str(number).encode()): str(number).encode() for number in range(count)}
    fetched: dict[str, bytes] = {}
    registry.fetch_blobs([*expected, *expected], fetched.__setitem__)
    assert fetched == expected
    assert len(handshakes) <= connections


def test_blob_that_cannot_be_had_ends_the_others(registry: Registry) -> None:
    numbers = [oci_digest(str(number).encode()) for number in range(1000)]
    fetched: dict[str, bytes] = {}
    with pytest.raises(DeviceError, match="does not exist"):
        registry.fetch_blobs([oci_digest(b"another"), *numbers], fetched.__setitem__)
    assert len(fetched) < len(numbers)


def test_disk_that_takes_no_blob_ends_the_others(registry: Registry) -> None:
    def full(digest: str, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        registry.fetch_blobs([oci_digest(str(number).encode()) for number in range(100)], full)


def test_untrusted_certificate_is_named_with_the_way_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    error = problem(monkeypatch, own_certificate(tmp_path))
    assert "certificate that this machine does not trust: self" in error.what
    assert "update-ca-certificates" in error.remedy
