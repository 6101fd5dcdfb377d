"""An example plugin on a device: a sink that appends alerts to a file. It needs nothing of the toolkit's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, Optional


@dataclass(frozen=True)
class LogFileSink:
    """The table [log_file] of the alert file; its fields are the keys, of the types str, int, float or bool."""

    path: str

    @property
    def name(self) -> str:
        """Return the name for the log and the page."""
        return f"file {self.path}"

    def problems(self) -> Iterator[str]:
        """Yield the fields that are not valid, with the reason."""
        if not Path(self.path).parent.is_dir():
            yield f"path: there is no folder {Path(self.path).parent}"

    def send(self, content: bytes, jpeg: Optional[bytes] = None) -> None:
        """Append the alert, a JSON document. OSError or ValueError: the app tries again."""
        del jpeg
        with Path(self.path).open("ab") as file:
            file.write(content + b"\n")

    def report(self, state: Dict[str, Any]) -> None:
        """Take the state of the app, every ten seconds and when the answer changes."""

    def keep_alive(self) -> None:
        """Check the connection, between alerts."""

    def close(self) -> None:
        """Close the connection."""
