"""Connections: one thread with an event loop serves them all, so that fifty clients cost no fifty threads."""

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
from .http import BODY_BYTES, HEAD_BYTES, SEND_S, BodyMemory, HttpError, Request, Response, read_request

CONNECTIONS, CONNECTIONS_PER_ADDRESS = 512, 64
"""When one more comes, the connection that has waited longest for a request gives way; loopback, where proxies and tunnels
connect from, has no limit of its own."""
LINGER_S = 2.0
Handler = Callable[[Request], Awaitable[Response]]


class Connection:
    """One open connection; `idle_since` is when it began to wait for a request, None while one is answered."""

    def __init__(self, peer: str, writer: asyncio.StreamWriter) -> None:
        self.peer, self.writer = peer, writer
        self.idle_since: Optional[float] = time.monotonic()


class Server(threading.Thread):
    """Serves from `begin` to `end`."""

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
        """Where it is; a server that answers at every address is called by a loopback one."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - compared, not bound
        return f"http{'s' if self.tls else ''}://{f'[{host}]' if ':' in host else host}:{self.port}"

    def begin(self, *background: Callable[[], Awaitable[None]]) -> None:
        """Start, with coroutines that run beside it for as long as it does."""
        self._background = background
        self.start()
        self._answering.wait()
        if self._failed is not None:
            raise self._failed

    def run(self) -> None:
        """The thread."""
        try:
            asyncio.run(self._serve())
        except Exception as error:  # noqa: BLE001 - raised again where it was begun
            self._failed = error
        finally:
            self._answering.set()

    async def _serve(self) -> None:
        self._loop, self._ending = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._accept, sock=self._socket, limit=HEAD_BYTES, ssl=self.tls)
        beside = [asyncio.ensure_future(run()) for run in self._background]
        self._answering.set()
        await self._ending.wait()
        server.close()
        tasks = [*beside, *self._open]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def end(self, timeout: float) -> bool:
        """Close everything; whether that was done in time."""
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
            self._make_room(connection)
            while await self._answer_next(reader, connection):
                connection.idle_since = time.monotonic()
        except HttpError as error:
            await _send(writer, error.response(), keeps=False)
        except (OSError, EOFError, asyncio.TimeoutError, asyncio.CancelledError):
            pass  # the client is gone, or the app is ending
        finally:
            del self._open[task]
            writer.close()

    def _make_room(self, new: Connection) -> None:
        """Where too many are open, close the idlest one of the address that has most of them.

        Raises:
            HttpError: all of them are busy.
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
                min(waiting, key=lambda pair: pair[0])[1].writer.transport.abort()
                return
        raise HttpError(503, f"{counts[new.peer]} connections are open from this address", Retry_After="5")

    async def _answer_next(self, reader: asyncio.StreamReader, connection: Connection) -> bool:
        """Whether another request may follow."""
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
        await _send(writer, response, keeps=keeps, bare=request.method == "HEAD")
        if response.stream is not None and request.method != "HEAD":
            await response.stream(reader, writer)
            return False
        await _skip(request)
        return keeps

    async def _respond(self, request: Request) -> Response:
        try:
            return await self.handle(request)
        except HttpError as error:
            return error.response()
        except Exception as error:  # noqa: BLE001 - one request that fails must not end the others
            print(f"error: {request.method} {request.path}: {type(error).__name__}: {error}", flush=True)
            return HttpError(500, "the app failed at this request", "see its log").response()


async def _send(writer: asyncio.StreamWriter, response: Response, *, keeps: bool, bare: bool = False) -> None:
    writer.write(response.head(keeps=keeps) + (b"" if bare else response.body))
    await asyncio.wait_for(writer.drain(), SEND_S)


async def _skip(request: Request) -> None:
    """Read what nobody wanted, so that the answer is not lost with it; not for long, and not for ever."""
    left = min(request.unread, BODY_BYTES)
    with contextlib.suppress(asyncio.TimeoutError):
        while left > 0:
            piece = await asyncio.wait_for(request.reader.read(min(left, 65_536)), LINGER_S)
            if not piece:
                return
            left -= len(piece)
    request.unread = 0


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        DeviceEnvironmentError: the address or the port cannot be had.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise DeviceEnvironmentError(f"is no address here: {error.strerror or error}", where=host) from None
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(CONNECTIONS)
    except OSError as error:
        listening.close()
        raise DeviceEnvironmentError(
            f"cannot listen there: {error.strerror}", where=f"{host}:{port}", remedy="choose another one by --port"
        ) from None
    return listening
