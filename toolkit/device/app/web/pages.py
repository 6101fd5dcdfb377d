"""The live page and the login form: each one file with its own style and script, without external resources."""

from __future__ import annotations

import functools
import html
import socket
from pathlib import Path

from .content_security import csp_header
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
    headers = {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": csp_header(text, form_action="'self'"),
    }
    return Response(status, headers, text.encode())
