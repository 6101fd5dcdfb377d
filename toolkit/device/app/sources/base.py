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
    """The source has no frames for now; the message says why."""


class DamagedFrameError(Exception):
    """One frame of the source cannot be used and is skipped; the message names it."""


class Source(Protocol):
    """A source of frames; used by one thread, which opens it again after a SourceLost."""

    name: str
    """The displayed name, without passwords."""
    live: bool
    """Whether the source sets the pace; other sources are read at the requested rate."""
    fps: Optional[float]
    """Frames per second at which the open source is to be read; None: as `live` says."""

    def open(self) -> None:
        """Open the source. Raises SourceLost if that fails."""

    def read(self) -> RawFrame:
        """Return the next frame.

        Raises:
            SourceLost: none arrives for some seconds.
            DamagedFrameError: the frame is skipped; the next call returns another one.
        """

    def close(self) -> None:
        """Close the source; does nothing if it is not open."""


@dataclass(frozen=True)
class CaptureOptions:
    """Requested size and rate; a camera may deliver others."""

    width: int = 1280
    height: int = 720
    fps: float = 30.0


class Pace:
    """Limits frames to a steady rate; 0 frames per second means no limit."""

    def __init__(self, fps: float) -> None:
        self._step_ns = round(1e9 / fps) if fps else 0
        self._next_ns: Optional[int] = None

    def delay_s(self) -> float:
        """Return the seconds until the next frame is due; a late frame does not delay the following ones."""
        now = now_ns()
        due = now if self._next_ns is None else max(self._next_ns, now - self._step_ns)
        self._next_ns = due + self._step_ns
        return max(0, due - now) / 1e9


def redact_address(address: str) -> str:
    """Return an address without user, password and query, to show or log."""
    return re.sub(r"\?.*$", "", re.sub(r"//[^/]*@", "//", address))
