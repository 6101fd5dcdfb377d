"""The interface of a frame source, the options of capture, and the pace of sources that are not live."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Optional, Protocol, Union

from ..pipeline.messages import now_ns

if TYPE_CHECKING:
    from ..pipeline.messages import Pixels

RawFrame = Union[bytes, "Pixels"]
"""A JPEG's bytes, or u8 [height, width, 3] in BGR."""


class SourceLost(Exception):  # noqa: N818 - cameras go and come back
    """A source gives no more frames for now; says why."""


class Source(Protocol):
    """One of them. Used by one thread, which opens it again after a SourceLost."""

    name: str
    """For people; without passwords."""
    live: bool
    """Whether frames come when they come; what is not live is read at the pace that is asked for."""

    def open(self) -> None:
        """Begin. Raises SourceLost when it cannot."""

    def read(self) -> RawFrame:
        """The next frame. Raises SourceLost when there is none for some seconds."""

    def close(self) -> None:
        """End; harmless when it is not open."""


@dataclass(frozen=True)
class CaptureOptions:
    """What a camera is asked for; it may give something else."""

    width: int = 1280
    height: int = 720
    fps: float = 30.0


class Pace:
    """Lets frames through at a steady rate; 0 frames a second is without limit."""

    def __init__(self, fps: float) -> None:
        self._step_ns = round(1e9 / fps) if fps else 0
        self._next_ns: Optional[int] = None

    def delay_s(self) -> float:
        """How long the next frame has to wait from now, in seconds; one that is late delays none that follow."""
        now = now_ns()
        due = now if self._next_ns is None else max(self._next_ns, now - self._step_ns)
        self._next_ns = due + self._step_ns
        return max(0, due - now) / 1e9


def redact_address(address: str) -> str:
    """An address as it may be shown and logged: no user, no password, no query."""
    return re.sub(r"\?.*$", "", re.sub(r"//[^/]*@", "//", address))
