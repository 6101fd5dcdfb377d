"""Authentication for the web app: bearer tokens, session cookies, loopback-only access without a token.

Without a token, the app answers on loopback only, and only requests whose Host is a loopback name, which rules out
DNS rebinding. With a token, programs send it as a bearer token; a browser sends it once, to /login, and gets a cookie
that is HttpOnly and SameSite=Strict. The token never appears in a URL, log or cookie.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from pathlib import Path
from typing import Optional

from ...errors import DeviceError
from .http import HttpError, Request

COOKIE = "toolkit_session"
SESSION_S = 12 * 3600
MIN_TOKEN_LENGTH = 16
"""Fewest characters of a token."""
PUBLIC_PATHS = ("/health", "/ready", "/login", "/")
"""Paths that need no token; "/" then returns the login form."""
_LOOPBACK = re.compile(r"(localhost|127\.\d{1,3}\.\d{1,3}\.\d{1,3}|\[::1\])(:\d{1,5})?", re.ASCII)


def read_token(path: Optional[Path]) -> Optional[str]:
    """Return the token in a file; None without a file.

    Raises:
        DeviceError: the file cannot be read, is readable by all users, or its token is too short.
    """
    if path is None:
        return None
    remedy = "head -c 24 /dev/urandom | base64 > FILE && chmod 600 FILE"
    try:
        token, mode = path.read_text(encoding="ascii").strip(), path.stat().st_mode
    except (OSError, ValueError) as error:
        raise DeviceError(f"the token cannot be read: {error}", where=str(path), remedy=remedy) from None
    if mode & 0o007:
        raise DeviceError("everyone can read the token file", where=str(path), remedy=f"chmod o= {path}")
    if len(token) < MIN_TOKEN_LENGTH or not token.isprintable():
        raise DeviceError(f"the token has less than {MIN_TOKEN_LENGTH} characters", where=str(path), remedy=remedy)
    return token


class Auth:
    """Checks the token, session and origin of each request."""

    def __init__(self, token: Optional[str]) -> None:
        self.token = token
        self._key = secrets.token_bytes(32)

    def check(self, request: Request) -> None:
        """Check that a request is allowed.

        Raises:
            HttpError: the request comes from another site, names another host, or has no valid token.
        """
        self._check_site(request)
        if self.token is None:
            if not _LOOPBACK.fullmatch(request.headers.get("host", "localhost")):
                raise HttpError(421, "not a name of this app", "without a token, use 127.0.0.1 or localhost")
        elif request.path not in PUBLIC_PATHS and not self.is_authenticated(request):
            raise HttpError(401, "a token is required", "send Authorization: Bearer TOKEN", WWW_Authenticate="Bearer")

    def _check_site(self, request: Request) -> None:
        origin = request.headers.get("origin")
        own = {
            request.headers.get("host", ""),
            request.headers.get("x-forwarded-host", ""),
        }  # another site cannot send that
        cross_origin = origin is not None and origin.partition("://")[2] not in own
        if cross_origin or request.headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            navigates = request.headers.get("sec-fetch-mode") == "navigate" and request.method == "GET"
            if not (navigates and request.path == "/"):
                raise HttpError(403, "requests from another site are not allowed")

    def is_authenticated(self, request: Request) -> bool:
        """Return whether a request carries the token or a session; always true if the app has no token."""
        if self.token is None:
            return True
        kind, _, value = request.headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and self.is_token(value.strip()):
            return True
        match = re.search(rf"(?:^|;\s*){COOKIE}=([0-9]+)\.([0-9a-f]+)", request.headers.get("cookie", ""), re.ASCII)
        return match is not None and self._is_session(match.group(1), match.group(2))

    def is_token(self, value: str) -> bool:
        """Return whether the value is the token; compares in constant time."""
        return self.token is not None and hmac.compare_digest(value.encode(), self.token.encode())

    def _is_session(self, until: str, seal: str) -> bool:
        return hmac.compare_digest(seal, self._seal(until)) and len(until) < 15 and int(until) > time.time()

    def session(self, *, secure: bool) -> str:
        """Return a session cookie; the session ends after SESSION_S or with this process."""
        until = str(int(time.time()) + SESSION_S)
        more = "; Secure" if secure else ""
        return f"{COOKIE}={until}.{self._seal(until)}; HttpOnly; SameSite=Strict; Max-Age={SESSION_S}{more}"

    def _seal(self, until: str) -> str:
        return hmac.new(self._key, until.encode(), hashlib.sha256).hexdigest()
