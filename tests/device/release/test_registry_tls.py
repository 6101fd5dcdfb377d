"""Registries that speak plain HTTP where TLS is expected, or whose certificate nobody vouches for."""

from __future__ import annotations

import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from toolkit.device.errors import DeviceError
from toolkit.device.release.oci_registry import Registry, oci_digest


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
        content = self.contents[self.path.rpartition("/")[2]]
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


@pytest.mark.slow
@pytest.mark.parametrize(("kept_open", "handshakes"), [(True, 1), (False, 113)])
def test_a_first_pull_shakes_hands_once(
    kept_open: bool, handshakes: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As many requests as a first pull of MobileNetV2 makes; with connections that are closed after each, for comparison."""
    certificate = own_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Blobs)
    done: list[str] = []

    class Counting(ssl.SSLSocket):
        def do_handshake(self, block: bool = False) -> None:
            super().do_handshake(block)
            done.append(self.version() or "")

    context.sslsocket_class = Counting
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr("toolkit.device.release.oci_registry._LOOPBACK", ())
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    registry = Registry(f"127.0.0.1:{server.server_port}", "vision", "stable", "", False, ())
    for number in range(113):
        content = str(number).encode()
        assert registry.blob(oci_digest(content)) == content
        if not kept_open:
            registry.close()
    registry.close()
    server.shutdown()
    server.server_close()
    assert len(done) == handshakes


def test_untrusted_certificate_is_named_with_the_way_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    error = problem(monkeypatch, own_certificate(tmp_path))
    assert "certificate that this machine does not trust: self" in error.what
    assert "update-ca-certificates" in error.remedy
