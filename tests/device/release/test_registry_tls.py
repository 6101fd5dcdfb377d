"""Registries that speak plain HTTP where TLS is expected, or whose certificate nobody vouches for."""

from __future__ import annotations

import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from toolkit.device.errors import DeviceError
from toolkit.device.release.oci_registry import Registry


class _Nothing(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_error(404)

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


def test_untrusted_certificate_is_named_with_the_way_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "own.pem"
    options = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=registry -addext subjectAltName=IP:127.0.0.1"
    subprocess.run(
        ["openssl", *options.split(), "-keyout", file, "-out", tmp_path / "c"], check=True, capture_output=True
    )
    file.write_text(file.read_text() + (tmp_path / "c").read_text())
    error = problem(monkeypatch, file)
    assert "certificate that this machine does not trust: self" in error.what
    assert "update-ca-certificates" in error.remedy
