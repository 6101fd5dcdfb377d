"""How long work tells people where it is: one interface, one form for terminals, one for logs, one for nobody.

Talk goes to stderr; stdout is data.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Task(Protocol):
    """A piece of work with a known number of steps."""

    def advance(self, steps: int = 1, note: str = "") -> None:
        """`steps` more are done; `note` replaces what is shown beside the bar."""


class Progress(Protocol):
    """What stages talk to."""

    def say(self, text: str) -> None:
        """One line that stays."""

    def track(self, title: str, total: int) -> AbstractContextManager[Task]:
        """A bar over `total` steps, for the length of a with-block."""


class _SilentTask:
    def advance(self, steps: int = 1, note: str = "") -> None:
        """Nothing to show."""


class Silent:
    """For tests and for --json: says nothing, remembers what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        """Keep it."""
        self.said.append(text)

    @contextmanager
    def track(self, title: str, total: int) -> Iterator[Task]:
        """No bar."""
        del title, total
        yield _SilentTask()


class _LinesTask:
    """A line every few seconds, so that a log stays readable."""

    def __init__(self, title: str, total: int) -> None:
        self._title, self._total, self._done = title, total, 0
        self._last = time.monotonic()

    def advance(self, steps: int = 1, note: str = "") -> None:
        self._done += steps
        now = time.monotonic()
        if now - self._last >= 5 and self._done < self._total:
            self._last = now
            print(f"  {self._title}: {self._done}/{self._total} {note}".rstrip(), file=sys.stderr, flush=True)


class Lines:
    """For logs: plain lines."""

    def say(self, text: str) -> None:
        """One line."""
        print(text, file=sys.stderr, flush=True)

    @contextmanager
    def track(self, title: str, total: int) -> Iterator[Task]:
        """A line at the end, and one every five seconds on the way."""
        start = time.monotonic()
        yield _LinesTask(title, total)
        self.say(f"  {title}: {total} in {time.monotonic() - start:.1f} s")


class Terminal:
    """For people: rich bars."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True, highlight=False)

    def say(self, text: str) -> None:
        """One line."""
        self._console.print(text, markup=False)

    @contextmanager
    def track(self, title: str, total: int) -> Iterator[Task]:
        """A bar with the time left."""
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        columns = (
            TextColumn("  {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Bars(*columns, console=self._console, transient=True) as bars:
            identity = bars.add_task(title, total=total, note="")

            class _BarTask:
                def advance(self, steps: int = 1, note: str = "") -> None:
                    bars.update(identity, advance=steps, note=note)

            yield _BarTask()


def for_people(*, quiet: bool = False) -> Progress:
    """The form that fits where stderr goes."""
    if quiet:
        return Silent()
    return Terminal() if sys.stderr.isatty() else Lines()
