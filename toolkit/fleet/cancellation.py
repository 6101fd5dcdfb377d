"""What is open while a fan-out runs, so that Ctrl-C can hang up on every device at once.

A fan-out makes one `Lifetimes` and enters it in each of its threads; what opens a connection there registers how to
close it. Outside a fan-out nothing is kept.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar

from toolkit.errors import FleetError


class CancelScope:
    """The ways to close what is open; once ended, nothing opens any more."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closers: dict[int, Callable[[], None]] = {}
        self._ended = False

    def add(self, close: Callable[[], None]) -> int:
        """Keep `close` and give a ticket to take it back with.

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
        """It was closed in the usual way."""
        with self._lock:
            self._closers.pop(ticket, None)

    def end(self) -> None:
        """Close all that is open."""
        with self._lock:
            self._ended = True
            closers, self._closers = list(self._closers.values()), {}
        for close in closers:
            with suppress(Exception):  # whatever is wrong with one, the others are closed
                close()

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Make this the place where the current thread registers what it opens."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)


_current: ContextVar[CancelScope | None] = ContextVar("lifetimes", default=None)


@contextmanager
def cancellable(close: Callable[[], None]) -> Iterator[None]:
    """Registered for the length of a with-block, where there is a fan-out to register with."""
    lifetimes = _current.get()
    if lifetimes is None:
        yield
        return
    ticket = lifetimes.add(close)
    try:
        yield
    finally:
        lifetimes.drop(ticket)
