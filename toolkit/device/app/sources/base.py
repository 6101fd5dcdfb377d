"""Where frames come from, by one spec each.

    pattern                     a moving test pattern, half of it dark, half of it light
    /data/images              a folder of images, by name, again and again
    /data/street.mp4            a video file, again and again
    /dev/video0, 0              a camera that Video4Linux knows, such as a UVC one
    picamera, picamera:1        a Raspberry Pi's own camera, through picamera2
    rtsp://camera.example/live  a network camera; http(s) too, where it sends MJPEG
    @/etc/toolkit/camera        the spec that this file holds: for addresses with a password in them
    none                        no camera: the API alone

What is not live is read at the pace that is asked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Optional, Protocol, Union

from ...errors import DeviceError
from ..pipeline.messages import now_ns

if TYPE_CHECKING:
    from ..pipeline.messages import Pixels

RawFrame = Union[bytes, "Pixels"]
"""A JPEG's bytes, or u8 [height, width, 3] in BGR."""

KINDS = "pattern, a folder, a video file, /dev/videoN, picamera, rtsp://…, @FILE with one of these in it, or none"


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


def make_source(spec: str, options: CaptureOptions) -> Optional[Source]:
    """The source that a spec names; None for "none".

    Raises:
        DeviceError: it names none, or a file that is not there.
    """
    from . import files, opencv

    if spec == "none":
        return None
    if spec.startswith("@"):
        return make_source(_line(Path(spec[1:])), options)
    if spec == "pattern":
        return files.TestPattern()
    found = re.fullmatch(r"picamera(?::(\d))?", spec)
    if found:
        from .picamera import RaspberryPiCamera

        return RaspberryPiCamera(int(found.group(1) or 0), options)
    if re.match(r"(rtsp|rtsps|http|https)://", spec):
        return opencv.NetworkCamera(spec)
    if re.fullmatch(r"\d+|/dev/.+", spec):
        return opencv.Camera(f"/dev/video{spec}" if spec.isdigit() else spec, options)
    return _file(Path(spec))


def _file(path: Path) -> Source:
    from . import files, opencv

    if path.is_dir():
        return files.ImageFolder(path)
    if path.is_file():
        return opencv.VideoFile(path)
    raise DeviceError("is neither a camera nor a file", where=str(path), remedy=f"give {KINDS}")


def _line(path: Path) -> str:
    try:
        spec = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise DeviceError(
            f"cannot be read: {error.strerror}", where=str(path), remedy="put the source's spec in it"
        ) from None
    if not spec or spec.startswith("@"):
        raise DeviceError("names no source", where=str(path), remedy=f"put one of these in it: {KINDS}")
    return spec


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
