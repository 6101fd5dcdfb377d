"""HTTP server: one thread with an event loop serves all connections."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
import time
from collections import Counter
from typing import Any, Awaitable, Callable, Dict, Optional

from ...errors import DeviceEnvironmentError
from .http import BODY_BYTES, HEAD_BYTES, HEAD_S, SEND_S, BodyMemory, HttpError, Request, Response, read_request, reset

CONNECTIONS, CONNECTIONS_PER_ADDRESS = 512, 64
"""Limits of open connections; beyond them, the one idle for the longest time is closed. Loopback, where proxies and
tunnels connect from, has no limit per address."""
LINGER_S = 2.0
SEND_BUFFER_BYTES = 262_144
"""What the kernel may hold for one client that does not read; by itself, it goes to 4 MB."""
Handler = Callable[[Request], Awaitable[Response]]


class Connection:
    """One open connection; `idle_since`: since when it waits for its client to send or to read, None while it works."""

    def __init__(self, peer: str, writer: asyncio.StreamWriter) -> None:
        self.peer, self.writer = peer, writer
        self.idle_since: Optional[float] = time.monotonic()

    async def send(self, response: Response, *, keeps: bool, bare: bool = False) -> None:
        """Send a response, without its body if it is `bare`; return once the client has read it, but for a buffer."""
        self.idle_since = time.monotonic()
        self.writer.write(response.head(keeps=keeps) + (b"" if bare else response.body))
        await asyncio.wait_for(self.writer.drain(), SEND_S)


class Server(threading.Thread):
    """The HTTP server; runs from `begin` to `end`."""

    def __init__(self, handle: Handler, host: str, port: int, tls: Optional[ssl.SSLContext] = None) -> None:
        super().__init__(name="http", daemon=True)
        self.handle, self.tls = handle, tls
        self._open: Dict[asyncio.Task[None], Connection] = {}
        self._memory = BodyMemory()
        self._answering = threading.Event()
        self._failed: Optional[BaseException] = None
        self._socket = _listen(host, port)
        self.host, self.port = self._socket.getsockname()[:2]

    @property
    def url(self) -> str:
        """Return the URL; for a server that listens on all addresses, the one on loopback."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - compared, not bound
        return f"http{'s' if self.tls else ''}://{f'[{host}]' if ':' in host else host}:{self.port}"

    def begin(self, *background: Callable[[], Awaitable[None]]) -> None:
        """Start the server, and coroutines that run until it ends."""
        self._background = background
        self.start()
        self._answering.wait()
        if self._failed is not None:
            raise self._failed

    def run(self) -> None:
        """Run the event loop until `end`."""
        try:
            asyncio.run(self._serve())
        except Exception as error:  # noqa: BLE001 - raised again by `begin`
            self._failed = error
        finally:
            self._answering.set()

    async def _serve(self) -> None:
        self._loop, self._ending = asyncio.get_running_loop(), asyncio.Event()
        handshake: Dict[str, Any] = {} if self.tls is None else {"ssl_handshake_timeout": HEAD_S}
        server = await asyncio.start_server(
            self._accept, sock=self._socket, limit=HEAD_BYTES, ssl=self.tls, **handshake
        )
        beside = [asyncio.ensure_future(run()) for run in self._background]
        self._answering.set()
        await self._ending.wait()
        server.close()
        tasks = [*beside, *self._open]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def end(self, timeout: float) -> bool:
        """Close all connections; return whether the thread ended in time."""
        if self.is_alive():
            self._loop.call_soon_threadsafe(self._ending.set)
            self.join(timeout)
        self._socket.close()
        return not self.is_alive()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task: Any = asyncio.current_task()
        peer = (writer.get_extra_info("peername") or ("local",))[0]
        connection = self._open[task] = Connection(peer, writer)
        try:
            await self._converse(reader, connection)
        except (OSError, EOFError, asyncio.TimeoutError, asyncio.CancelledError):
            reset(writer)  # the client is gone or reads nothing, or the app is ending
        finally:
            connection.idle_since = time.monotonic()
            await _close(writer)
            del self._open[task]

    async def _converse(self, reader: asyncio.StreamReader, connection: Connection) -> None:
        """Answer requests until one of the two ends the connection."""
        try:
            self._make_room(connection)
            while await self._answer_next(reader, connection):
                pass
        except HttpError as error:
            await connection.send(error.response(), keeps=False)

    def _make_room(self, new: Connection) -> None:
        """If too many connections are open, close the longest idle one of the address with the most connections.

        Raises:
            HttpError: all connections are busy.
        """
        counts = Counter(connection.peer for connection in self._open.values())
        local = new.peer.startswith("127.") or new.peer in {"::1", "local"}
        if counts[new.peer] > CONNECTIONS_PER_ADDRESS and not local:
            crowd = [new.peer]
        elif len(self._open) > CONNECTIONS:
            crowd = [peer for peer, _ in counts.most_common()]
        else:
            return
        for peer in crowd:
            idle = [(one.idle_since, one) for one in self._open.values() if one.peer == peer and one is not new]
            waiting = [(since, one) for since, one in idle if since is not None]
            if waiting:
                reset(min(waiting, key=lambda pair: pair[0])[1].writer)
                return
        raise HttpError(503, f"{counts[new.peer]} connections are open from this address", Retry_After="5")

    async def _answer_next(self, reader: asyncio.StreamReader, connection: Connection) -> bool:
        """Handle the next request; return whether another one may follow."""
        writer = connection.writer
        request = await read_request(reader, writer, connection.peer, self._memory)
        if request is None:
            return False
        connection.idle_since = None
        try:
            response = await self._respond(request)
        finally:
            request.release()
        keeps = request.keeps and response.stream is None and request.unread <= BODY_BYTES
        await connection.send(response, keeps=keeps, bare=request.method == "HEAD")
        if response.stream is not None and request.method != "HEAD":
            connection.idle_since = None
            await response.stream(reader, writer)
            return False
        await _skip(request)
        return keeps

    async def _respond(self, request: Request) -> Response:
        try:
            return await self.handle(request)
        except HttpError as error:
            return error.response()
        except (EOFError, ConnectionError):
            raise  # the client is gone: no failure of the app
        except Exception as error:  # noqa: BLE001 - one request that fails must not end the others
            print(f"error: {request.method} {request.path}: {type(error).__name__}: {error}", flush=True)
            return HttpError(500, "the app failed to handle this request", "see its log").response()


async def _close(writer: asyncio.StreamWriter) -> None:
    """Close a connection; a client that does not read the rest in time loses it, or it would hold memory forever."""
    writer.close()
    try:
        await asyncio.wait_for(writer.wait_closed(), SEND_S)
    except (OSError, asyncio.TimeoutError, asyncio.CancelledError):
        reset(writer)


async def _skip(request: Request) -> None:
    """Read the rest of an unread body, within limits: closing a socket with unread data would discard the response."""
    left = min(request.unread, BODY_BYTES)
    with contextlib.suppress(asyncio.TimeoutError):
        while left > 0:
            piece = await asyncio.wait_for(request.reader.read(min(left, 65_536)), LINGER_S)
            if not piece:
                return
            left -= len(piece)
    request.unread = 0


def _listen(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Raises:
        DeviceEnvironmentError: the address is not valid here, or the port cannot be used.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise DeviceEnvironmentError(
            f"is not an address of this machine: {error.strerror or error}", where=host
        ) from None
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        listening.bind(address)
        listening.listen(CONNECTIONS)
    except OSError as error:
        listening.close()
        raise DeviceEnvironmentError(
            f"cannot listen there: {error.strerror}", where=f"{host}:{port}", remedy="choose another one by --port"
        ) from None
    return listening
