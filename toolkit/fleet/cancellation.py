"""Cancellation: Ctrl-C closes all connections of a fan-out at once.

A fan-out creates one `CancelScope` and enters it in each of its threads; code that opens a connection there registers how to
close it. Outside a fan-out, nothing is registered.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar

from toolkit.errors import FleetError


class CancelScope:
    """The open connections of a fan-out; once ended, no more can be opened."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closers: dict[int, Callable[[], None]] = {}
        self._ended = False

    def add(self, close: Callable[[], None]) -> int:
        """Register `close` and return a ticket to remove it with.

        Raises:
            FleetError: all was ended already.
        """
        with self._lock:
            if self._ended:
                raise FleetError("interrupted")
            ticket = len(self._closers) if not self._closers else max(self._closers) + 1
            self._closers[ticket] = close
            return ticket

    def drop(self, ticket: int) -> None:
        """Remove a connection that was closed normally."""
        with self._lock:
            self._closers.pop(ticket, None)

    def end(self) -> None:
        """Close all connections."""
        with self._lock:
            self._ended = True
            closers, self._closers = list(self._closers.values()), {}
        for close in closers:
            with suppress(Exception):  # whatever is wrong with one, the others are closed
                close()

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Make this the scope of the current thread."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)


_current: ContextVar[CancelScope | None] = ContextVar("cancel_scope", default=None)


@contextmanager
def cancellable(close: Callable[[], None]) -> Iterator[None]:
    """Register `close` for the length of a with-block, if there is a fan-out."""
    scope = _current.get()
    if scope is None:
        yield
        return
    ticket = scope.add(close)
    try:
        yield
    finally:
        scope.drop(ticket)
