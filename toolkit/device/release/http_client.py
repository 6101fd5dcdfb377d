"""HTTP client for untrusted servers: limits on size and time, and credentials bound to one origin.

Connections are kept open between requests. Redirects are followed to the same or a safer scheme only; an Authorization
header goes to the origin (scheme, host and port) that it is meant for and to no other. Proxies are taken from the
environment, as in urllib.
"""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import threading
import time
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Dict, Mapping, Optional, Tuple

TIMEOUT_S = 30.0
"""Longest time without data from the server."""
DEADLINE_S = 120.0
"""Longest time for one request in all, even if data arrives steadily."""
MAX_BODY_BYTES = 16 << 20
MAX_REDIRECTS = 5
_BLOCK = 1 << 16
_REDIRECTS = (301, 302, 303, 307, 308)

Origin = Tuple[str, str, int]


@dataclass(frozen=True)
class Answer:
    """A response; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Credentials:
    """An Authorization header for one origin."""

    origin: Origin
    header: str


def origin_of(url: str) -> Origin:
    """Return the scheme, host and port of a URL.

    Raises:
        ValueError: the URL is not an http or https one.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username is not None:
        raise ValueError(f"{_printable(url)} is not an http or https address without a user")
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


class HttpClient:
    """HTTP client with connections for each thread; `close` ends those of the calling thread."""

    def __init__(self, *, max_redirects: int = MAX_REDIRECTS, deadline_s: float = DEADLINE_S) -> None:
        self._max_redirects, self._deadline_s = max_redirects, deadline_s
        self._local = threading.local()

    @property
    def _connections(self) -> Dict[Origin, http.client.HTTPConnection]:
        connections: Dict[Origin, http.client.HTTPConnection] = self._local.__dict__.setdefault("connections", {})
        return connections

    def request(
        self,
        method: str,
        url: str,
        body: Optional[bytes] = None,
        headers: Optional[Mapping[str, str]] = None,
        credentials: Optional[Credentials] = None,
        limit: int = MAX_BODY_BYTES,
    ) -> Answer:
        """Return the response after redirects, whatever its status.

        Raises:
            OSError: the server cannot be reached, is too slow, sends too much, or a redirect is not allowed.
            http.client.HTTPException: the response is not HTTP.
            ValueError: the URL is not valid.
        """
        for _ in range(self._max_redirects + 1):
            sent = dict(headers or {})
            if credentials is not None and origin_of(url) == credentials.origin:
                sent["Authorization"] = credentials.header
            answer = self._send(method, url, body, sent, limit)
            location = answer.headers.get("location")
            if answer.status not in _REDIRECTS or location is None:
                return answer
            url = _redirect_target(url, location)
            if answer.status == 303 and method != "HEAD":
                method, body = "GET", None
        most = self._max_redirects
        raise OSError(f"redirects more than {most} times" if most else "redirects, which is not followed")

    def _send(self, method: str, url: str, body: Optional[bytes], headers: Mapping[str, str], limit: int) -> Answer:
        """Send a request over an open connection, or over a new one if the server closed it."""
        origin = origin_of(url)
        reused = origin in self._connections
        try:
            return self._exchange(origin, method, url, body, headers, limit)
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            if not reused:
                raise
            return self._exchange(origin, method, url, body, headers, limit)

    def _exchange(
        self, origin: Origin, method: str, url: str, body: Optional[bytes], headers: Mapping[str, str], limit: int
    ) -> Answer:
        connection, target = self._connection(origin, url)
        if connection.sock is None:
            connection.connect()
        deadline = time.monotonic() + self._deadline_s
        watchdog = threading.Timer(self._deadline_s, _shut_down, [connection.sock])
        watchdog.daemon = True
        watchdog.start()
        try:
            connection.request(method, target, body, dict(headers))
            response = connection.getresponse()
            content = _read(response, limit)
            _check_time(deadline)  # a stream that the watchdog closed looks like one that the server ended
        except BaseException as error:
            self._connections.pop(origin, None)
            connection.close()
            if time.monotonic() >= deadline:
                raise OSError(f"did not answer within {self._deadline_s:g} s") from error
            raise
        finally:
            watchdog.cancel()
        if response.will_close:
            self._connections.pop(origin, None)
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, content)

    def _connection(self, origin: Origin, url: str) -> Tuple[http.client.HTTPConnection, str]:
        """Return a connection for the origin, and the request target."""
        scheme, host, port = origin
        parts = urllib.parse.urlsplit(url)
        path = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
        proxy = None if urllib.request.proxy_bypass(host) else urllib.request.getproxies().get(scheme)
        if origin not in self._connections:
            self._connections[origin] = _connect(scheme, host, port, proxy)
        return self._connections[origin], url if proxy and scheme == "http" else path

    def close(self) -> None:
        """Close all connections of this thread."""
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()


def _connect(scheme: str, host: str, port: int, proxy: Optional[str]) -> http.client.HTTPConnection:
    parts = urllib.parse.urlsplit(proxy if "://" in proxy else f"http://{proxy}") if proxy else None
    place = (parts.hostname or "", parts.port or 80) if parts else (host, port)
    if scheme == "http":
        return http.client.HTTPConnection(*place, timeout=TIMEOUT_S)
    connection = http.client.HTTPSConnection(*place, timeout=TIMEOUT_S, context=ssl.create_default_context())
    if parts:
        connection.set_tunnel(host, port)
    return connection


def _read(response: http.client.HTTPResponse, limit: int) -> bytes:
    content = bytearray()
    while len(content) <= limit:
        block = response.read(min(_BLOCK, limit + 1 - len(content)))
        if not block:
            expected = response.length
            if expected:
                raise http.client.IncompleteRead(bytes(content), expected)
            return bytes(content)
        content += block
    raise OSError(f"the answer has more than {limit} bytes")


def _check_time(deadline: float) -> None:
    if time.monotonic() >= deadline:
        raise TimeoutError


def _shut_down(connected: socket.socket) -> None:
    """Shut down the TCP socket directly: a TLS shutdown would wait for the server."""
    try:
        socket.socket.shutdown(connected, socket.SHUT_RDWR)
    except OSError:
        return


def _redirect_target(url: str, location: str) -> str:
    target = urllib.parse.urljoin(url, location)
    if origin_of(url)[0] == "https" and origin_of(target)[0] != "https":
        raise OSError(f"redirects from https to {_printable(target)}")
    return target


def _printable(url: str) -> str:
    """Return an address for messages: without a user, a password or a query."""
    url = re.sub(r"//[^/?#]*@", "//", url)
    return "".join(letter if letter.isprintable() else "?" for letter in url[:200].partition("?")[0])
