"""Who gives tokens to a registry's clients, as the big registries have one: over TLS, by the distribution project's protocol."""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.x509.oid import NameOID

ADDRESS = "127.0.0.2"
"""Loopback, and yet none of the names for it that go without TLS."""
ISSUER, SERVICE = "office", "shop"
NAME, PASSWORD = "fleet", "secret"
LIFE_S = 60


class Office:
    """Gives whoever knows the password the right to write, and everybody that to read."""

    def __init__(self, folder: Path) -> None:
        self.certificate, self.key_file = folder / "cert.pem", folder / "key.pem"
        self._key = rsa.generate_private_key(65537, 2048)
        self._shown = _certificate(self._key)
        self.certificate.write_bytes(self._shown.public_bytes(serialization.Encoding.PEM))
        form = serialization.PrivateFormat.TraditionalOpenSSL
        pem = self._key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
        self.key_file.write_bytes(pem)
        self.realm = ""
        self.issued: list[tuple[str, str]] = []
        """Who was given a token ("" for nobody in particular), and for what."""

    @contextmanager
    def open(self) -> Iterator[None]:
        """Answer at `realm`."""
        office = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                content = office.answer(self.path, self.headers.get("Authorization", ""))
                self.send_response(200 if content else 401)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        server = ThreadingHTTPServer((ADDRESS, 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key_file)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        self.realm = f"https://{ADDRESS}:{server.server_address[1]}/token"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    def answer(self, path: str, authorization: str) -> bytes:
        """A token; b"" for a wrong password."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(path).query).items()}
        word = base64.b64encode(f"{NAME}:{PASSWORD}".encode()).decode()
        if authorization not in ("", f"Basic {word}") or asked["service"] != SERVICE:
            return b""
        name = NAME if authorization else ""
        self.issued.append((name, asked["scope"]))
        kind, repository, actions = asked["scope"].split(":")
        allowed = [action for action in actions.split(",") if name or action == "pull"]
        access = [{"type": kind, "name": repository, "actions": allowed}]
        return json.dumps({"token": self._token(access)}).encode()

    def _token(self, access: list[dict[str, Any]]) -> str:
        now = int(dt.datetime.now(dt.UTC).timestamp())
        shown = self._shown.public_bytes(serialization.Encoding.DER)
        header = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(shown).decode()]}
        claims = {"iss": ISSUER, "sub": "", "aud": SERVICE, "nbf": now - LIFE_S, "iat": now, "exp": now + LIFE_S}
        token = f"{_word(header)}.{_word(claims | {'jti': str(len(self.issued)), 'access': access})}"
        signature = self._key.sign(token.encode(), PKCS1v15(), hashes.SHA256())
        return f"{token}.{_unpadded(signature)}"


def _word(document: dict[str, Any]) -> str:
    return _unpadded(json.dumps(document).encode())


def _unpadded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def _certificate(key: rsa.RSAPrivateKey) -> x509.Certificate:
    """Its own authority's, for ADDRESS."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, ISSUER)])
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(ADDRESS))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
