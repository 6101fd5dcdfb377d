"""Progress output on stderr: messages and bars for terminals, plain lines, JSON lines, or nothing.

stdout is reserved for data.
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, Protocol

LogFormat = Literal["text", "json"]


class Task(Protocol):
    """Work with a known number of steps."""

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Add `steps` finished steps; `note` replaces the text beside the bar."""


class Progress(Protocol):
    """What a stage reports its progress to."""

    def log(self, text: str) -> None:
        """Print one line that stays."""

    def track(self, title: str, total: int) -> AbstractContextManager[Task]:
        """Show a bar over `total` steps for the length of a with-block; `title` ends with what is counted."""


@dataclass
class _Settings:
    verbosity: int = 0
    log_format: LogFormat = "text"


_CONTROL = dict.fromkeys(
    (
        *(code for code in range(0x20) if code not in {0x09, 0x0A}),
        *range(0x7F, 0xA0),
        *range(0x202A, 0x202F),
        *range(0x2066, 0x206A),
    ),
    "\N{REPLACEMENT CHARACTER}",
)
_settings = _Settings()
_PLAIN_TERMINALS = ("dumb", "unknown")
"""Values of $TERM for terminals, such as editors', on which a bar cannot be redrawn."""
ANNOUNCE_AFTER_S = 0.7
"""Seconds after the start of a command at which it says that it works, if nothing was printed."""
_has_output = threading.Event()


def configure(*, verbosity: int = 0, log_format: LogFormat = "text") -> None:
    """Set what `create_progress` returns in this process: verbosity below 0 is silent."""
    _settings.verbosity, _settings.log_format = verbosity, log_format


def create_progress(*, quiet: bool = False) -> Progress:
    """Return the progress output that fits the options and where stderr goes; with `quiet` only JSON lines remain."""
    if _settings.verbosity < 0:
        return Silent()
    if _settings.log_format == "json":
        return JsonLines()
    if quiet:
        return Silent()
    return Terminal() if sys.stderr.isatty() and os.environ.get("TERM") not in _PLAIN_TERMINALS else Lines()


def log_error(text: str, **fields: str) -> None:
    """Print an error on stderr in the chosen format; `fields` are its parts, for JSON."""
    mark_output()
    if _settings.log_format == "json":
        print(json_line("error", message=text, **fields), file=sys.stderr, flush=True)
    else:
        print(strip_control(f"error: {text}"), file=sys.stderr, flush=True)


def strip_control(text: str) -> str:
    """Return text that cannot command a terminal: control characters and bidirectional overrides are replaced.

    Line ends and tabs stay. Whatever a device, a registry or a file from outside says passes through here on its way to a person.
    """
    return text.translate(_CONTROL)


def escape_control(text: str) -> str:
    """Return JSON text in which no character commands a terminal; it has the same value."""
    return re.sub("[\x7f-\x9f\u202a-\u202e\u2066-\u2069]", lambda match: f"\\u{ord(match[0]):04x}", text)


def format_bytes(size_bytes: int) -> str:
    """Return a size for people; a size above zero never shows as 0.0."""
    if size_bytes >= 1e9:
        return f"{size_bytes / 1e9:,.1f} GB"
    if size_bytes >= 100_000:
        return f"{size_bytes / 1e6:,.1f} MB"
    return f"{size_bytes / 1e3:,.1f} kB" if size_bytes >= 1000 else f"{size_bytes} B"


def mark_output() -> None:
    """Record that the user has seen output of this command."""
    _has_output.set()


@contextmanager
def announce_if_slow(text: str, after_s: float) -> Iterator[None]:
    """Log `text` once if the with-block has printed nothing after `after_s` seconds."""
    _has_output.clear()
    ended = threading.Event()

    def announce() -> None:
        if not ended.wait(after_s) and not _has_output.is_set():
            create_progress().log(text)

    threading.Thread(target=announce, daemon=True, name="announce").start()
    try:
        yield
    finally:
        ended.set()


class _SilentTask:
    def advance(self, steps: int = 1, note: str = "") -> None:
        """Show nothing."""


class Silent:
    """Prints nothing and records the messages; for tests and for --json."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def log(self, text: str) -> None:
        """Record the message."""
        self.messages.append(text)

    @contextmanager
    def track(self, title: str, total: int) -> Iterator[Task]:
        """Show no bar."""
        del title, total
        yield _SilentTask()


class _LinesTask:
    """Prints a line every five seconds, so that a log stays readable."""

    def __init__(self, output: Lines, title: str, total: int) -> None:
        self._output, self._title, self._total, self._done = output, title, total, 0
        self._last = time.monotonic()

    def advance(self, steps: int = 1, note: str = "") -> None:
        self._done += steps
        now = time.monotonic()
        if now - self._last >= 5 and self._done < self._total:
            self._last = now
            self._output.log(f"  {self._title}: {self._done}/{self._total} {note}".rstrip())


class Lines:
    """Plain lines, for logs."""

    def log(self, text: str) -> None:
        """Print one line."""
        mark_output()
        print(strip_control(text), file=sys.stderr, flush=True)

    @contextmanager
    def track(self, title: str, total: int) -> Iterator[Task]:
        """Print a line every five seconds and one at the end."""
        start = time.monotonic()
        yield _LinesTask(self, title, total)
        self.log(f"  {title}: {total} in {time.monotonic() - start:.1f} s")


class JsonLines(Lines):
    """One JSON object per line, for log collectors."""

    def log(self, text: str) -> None:
        """Print one object."""
        mark_output()
        print(json_line("info", message=text.strip()), file=sys.stderr, flush=True)


def json_line(level: str, **fields: str) -> str:
    """Return a log record as one line of JSON; empty fields are left out."""
    record = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "level": level}
    text = json.dumps(record | {name: value for name, value in fields.items() if value}, ensure_ascii=False)
    return escape_control(text)


class Terminal:
    """Messages and bars for a terminal."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True, highlight=False)

    def log(self, text: str) -> None:
        """Print one line."""
        mark_output()
        self._console.print(strip_control(text), markup=False)

    @contextmanager
    def track(self, title: str, total: int) -> Iterator[Task]:
        """Show a bar with the remaining time."""
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        mark_output()
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
