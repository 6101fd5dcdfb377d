"""The server's thread: when it begins and ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

import pytest

from toolkit.device.app.web import server as module
from toolkit.device.app.web.http import Request, Response
from toolkit.device.app.web.server import Server


async def nothing(request: Request) -> Response:
    raise AssertionError(request)


def test_server_can_be_ended_as_soon_as_it_was_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow machine's thread: `begin` waits for its event loop, not only for its first step."""
    run = asyncio.run

    def late(main: Coroutine[Any, Any, None]) -> None:
        time.sleep(0.3)
        run(main)

    monkeypatch.setattr(module.asyncio, "run", late)
    server = Server(nothing, "127.0.0.1", 0)
    server.begin()
    assert server.end(10)


def test_begin_raises_what_kept_the_server_from_starting(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: Any, **__: Any) -> None:
        raise OSError("no more sockets")

    monkeypatch.setattr(module.asyncio, "start_server", refuse)
    server = Server(nothing, "127.0.0.1", 0)
    with pytest.raises(OSError, match="no more sockets"):
        server.begin()
    server.end(10)
