"""The live page and the login form: each one file with its own style and script, without external resources."""

from __future__ import annotations

import base64
import functools
import hashlib
import html
import re
import socket
from pathlib import Path

from .http import Response

_FOLDER = Path(__file__).parent


def live_page() -> Response:
    """Return the live page."""
    return _response(_read("page.html"), 200)


def login_page(*, failed: bool) -> Response:
    """Return the login form, with an error message after a wrong token."""
    message = '<p role="alert">Wrong token.</p>' if failed else ""
    page = _read("login.html").replace("<!-- word -->", message)
    return _response(page.replace("<!-- device -->", html.escape(socket.gethostname())), 401 if failed else 200)


@functools.lru_cache(maxsize=4)
def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _response(text: str, status: int) -> Response:
    headers = {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": csp_header(text)}
    return Response(status, headers, text.encode())


def csp_header(text: str) -> str:
    """Return a Content-Security-Policy that allows only the page's script and style, by digest, and its server."""
    hashes = {
        kind: " ".join(f"'sha256-{_digest(part)}'" for part in re.findall(rf"<{kind}>(.*?)</{kind}>", text, re.DOTALL))
        or "'none'"
        for kind in ("script", "style")
    }
    return (
        f"default-src 'none'; script-src {hashes['script']}; style-src {hashes['style']}; img-src 'self' data:; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
