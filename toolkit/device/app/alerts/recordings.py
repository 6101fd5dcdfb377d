"""The table [recordings] of the alert file: a snapshot and a clip of each alert, in a folder with a quota.

    [recordings]
    folder = "/var/lib/toolkit/recordings"
    before_s = 5            # seconds of the clip before the alert
    after_s = 5             # and after it
    fps = 5                 # frames per second of the clip; 0: snapshots only
    quota_mib = 512         # the oldest recordings make room
    reserve_mib = 256       # free space that is left to others

An alert becomes NAME.json, what the sinks get; NAME.jpg, its image; and NAME.avi (Motion JPEG) when the clip is over.
Frames before an alert are held in memory as JPEGs, at most RING_BYTES of them.
"""

from __future__ import annotations

import contextlib
import json
import queue
import re
import shutil
import threading
from collections import deque
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Deque, Dict, Iterator, List, Optional, Tuple

import cv2
import numpy as np

from ..pipeline.decoding import frame_as_jpeg
from ..pipeline.messages import DropOldestQueue, now_ns

if TYPE_CHECKING:
    from ..pipeline.messages import Frame

MIB = 1 << 20
RING_BYTES = 32 * MIB
LONGEST_S = 120.0
"""Longest clip; alerts during a clip make it longer up to this."""
SUFFIXES = (".json", ".jpg", ".avi")
_NAME = re.compile(r"\d{8}T\d{6}\.\d{3}Z-[\w-]*", re.ASCII)
_STEP_S = 0.2
Moment = Tuple[int, bytes]
"""A frame: the time of its arrival in nanoseconds, and its JPEG."""


@dataclass(frozen=True)
class RecordingSettings:
    """The values of [recordings]."""

    folder: str
    before_s: float = 5.0
    after_s: float = 5.0
    fps: float = 5.0
    quota_mib: float = 512.0
    reserve_mib: float = 256.0

    def problems(self) -> Iterator[str]:
        """Yield the fields that are not valid, with the reason."""
        if not Path(self.folder).is_absolute():
            yield f"folder: {self.folder} is not an absolute path"
        for name in ("before_s", "after_s"):
            if not 0 <= getattr(self, name) <= LONGEST_S / 2:
                yield f"{name}: {getattr(self, name)} is not from 0 to {LONGEST_S / 2:g} seconds"
        if not 0 <= self.fps <= 30:
            yield f"fps: {self.fps} is not from 0 to 30"
        if not 1 <= self.quota_mib <= 1_000_000:
            yield f"quota_mib: {self.quota_mib} is not from 1 to 1000000"
        if not 0 <= self.reserve_mib <= 1_000_000:
            yield f"reserve_mib: {self.reserve_mib} is not from 0 to 1000000"


class RecordingFolder:
    """Files of recordings; the oldest make room for new ones."""

    def __init__(self, settings: RecordingSettings) -> None:
        self._folder = Path(settings.folder)
        self._quota, self._reserve = round(settings.quota_mib * MIB), round(settings.reserve_mib * MIB)

    def add(self, name: str, suffix: str, content: bytes) -> None:
        """Write one file whole.

        Raises:
            OSError: the folder cannot be written, or neither quota nor disk have room.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        self._make_room(len(content), name)
        part = self._folder / f".{name}{suffix}.part"
        try:
            part.write_bytes(content)
            part.replace(self._folder / f"{name}{suffix}")
        except OSError:
            with contextlib.suppress(OSError):
                part.unlink()
            raise

    def _make_room(self, size_bytes: int, name: str) -> None:
        for part in self._folder.glob(".*.part"):  # of an app that was killed
            part.unlink()
        recordings: Dict[str, List[Path]] = {}
        for path in self._folder.iterdir():
            if path.suffix in SUFFIXES and _NAME.fullmatch(path.stem):
                recordings.setdefault(path.stem, []).append(path)
        sizes = {stem: sum(path.stat().st_size for path in paths) for stem, paths in recordings.items()}
        held = sum(sizes.values())
        free = shutil.disk_usage(self._folder).free
        for stem in sorted(sizes):  # names begin with their time
            if held + size_bytes <= self._quota and free - size_bytes >= self._reserve:
                return
            if stem == name:
                continue
            for path in recordings[stem]:
                path.unlink()
            held, free = held - sizes[stem], free + sizes[stem]
        if held + size_bytes > self._quota:
            raise OSError(f"the quota of {self._quota / MIB:g} MiB has no room for {size_bytes / MIB:.1f} MiB")
        if free - size_bytes < self._reserve:
            raise OSError(f"the disk has less than {self._reserve / MIB:g} MiB free")


class Recorder(threading.Thread):
    """Records alerts. `see` is called by the capture stage for each frame, `record` by those that raise alerts."""

    def __init__(self, settings: RecordingSettings, log: Callable[[str], None]) -> None:
        super().__init__(name="recordings", daemon=True)
        self.problem: Optional[str] = None
        """Why nothing is recorded; None while it is."""
        self._settings, self._log = settings, log
        self._folder = RecordingFolder(settings)
        self._frames: DropOldestQueue[Frame] = DropOldestQueue(2)
        self._alerts: queue.Queue[Tuple[str, Dict[str, Any], Frame]] = queue.Queue(8)
        self._ring: Deque[Moment] = deque()
        self._ring_bytes = 0
        self._clip: Optional[_Clip] = None
        self._next_ns = 0
        self._stopping = threading.Event()

    def see(self, frame: Frame) -> None:
        """Take a frame of the camera, if one is due."""
        if self._settings.fps and frame.captured_ns >= self._next_ns:
            self._next_ns = max(self._next_ns, frame.captured_ns - 10**9) + round(1e9 / self._settings.fps)
            self._frames.put(frame)

    def record(self, message: Dict[str, Any], frame: Frame) -> Optional[str]:
        """Queue the recording of an alert; return its name, or None if too many wait."""
        at = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S.%f")[:-3]
        name = f"{at}Z-{re.sub(r'[^a-z0-9]+', '-', str(message['alert']).lower()).strip('-')}"
        try:
            self._alerts.put_nowait((name, message, frame))
        except queue.Full:
            return None
        return name

    def run(self) -> None:
        """Record until `end`; a clip that is not over then is written as it is."""
        while not self._stopping.is_set():
            frame = self._frames.take(_STEP_S)
            if frame is not None:
                self._try(partial(self._add, frame))
            while not self._alerts.empty():
                self._begin(*self._alerts.get())
            if self._clip is not None and now_ns() >= self._clip.end_ns:
                self._finish()
        self._finish()

    def _add(self, frame: Frame) -> None:
        moment = (frame.captured_ns, frame_as_jpeg(frame))
        self._ring.append(moment)
        self._ring_bytes += len(moment[1])
        oldest_ns = frame.captured_ns - round(self._settings.before_s * 1e9)
        while self._ring and (self._ring_bytes > RING_BYTES or self._ring[0][0] < oldest_ns):
            self._ring_bytes -= len(self._ring.popleft()[1])
        if self._clip is not None:
            self._clip.add(moment)

    def _begin(self, name: str, message: Dict[str, Any], frame: Frame) -> None:
        text = json.dumps({**message, "recording": name}, ensure_ascii=False, indent=1).encode()
        self._try(lambda: self._folder.add(name, ".json", text))
        self._try(lambda: self._folder.add(name, ".jpg", frame_as_jpeg(frame)))
        if not self._settings.fps:
            return
        end_ns = now_ns() + round(self._settings.after_s * 1e9)
        if self._clip is None:
            self._clip = _Clip(name, end_ns, self._ring)
        else:
            self._clip.extend(end_ns)

    def _finish(self) -> None:
        clip, self._clip = self._clip, None
        if clip is not None and clip.moments:
            self._try(lambda: self._folder.add(clip.name, ".avi", as_avi(clip.moments, self._settings.folder)))

    def _try(self, action: Callable[[], None]) -> None:
        """Run what uses the disk or a codec; log the first of several equal problems."""
        try:
            action()
        except (OSError, ValueError, cv2.error) as error:
            problem = str(error) or type(error).__name__
            if problem != self.problem:
                self._log(f"recordings: {problem}")
            self.problem = problem
        else:
            self.problem = None

    def end(self, timeout: float) -> bool:
        """Stop the thread; return whether it ended in time."""
        self._stopping.set()
        if self.is_alive():
            self.join(timeout)
        return not self.is_alive()


class _Clip:
    """The frames of a clip that is not over; at most RING_BYTES twice."""

    def __init__(self, name: str, end_ns: int, before: Deque[Moment]) -> None:
        self.name, self.end_ns, self.moments = name, end_ns, list(before)
        self._last_ns = (before[0][0] if before else end_ns) + round(LONGEST_S * 1e9)
        self._bytes = sum(len(jpeg) for _, jpeg in before)

    def add(self, moment: Moment) -> None:
        if self._bytes + len(moment[1]) <= 2 * RING_BYTES:
            self.moments.append(moment)
            self._bytes += len(moment[1])

    def extend(self, end_ns: int) -> None:
        self.end_ns = min(end_ns, max(self._last_ns, self.end_ns))


def as_avi(moments: List[Moment], folder: str) -> bytes:
    """Return frames as a Motion JPEG video whose length is theirs; frames of another size than the first are left out.

    Raises:
        ValueError: no frame can be decoded.
        OSError: there is no room in `folder`, where the video is written first.
    """
    images = (cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR) for _, jpeg in moments if jpeg)
    first = next((image for image in images if image is not None), None)
    if first is None:
        raise ValueError("no frame of the clip can be decoded")
    lasts_s = (moments[-1][0] - moments[0][0]) / 1e9
    path = Path(folder) / ".clip.avi"
    try:
        rate = (len(moments) - 1) / lasts_s if lasts_s > 0 else 1.0
        video = cv2.VideoWriter(
            str(path), cv2.CAP_OPENCV_MJPEG, cv2.VideoWriter.fourcc(*"MJPG"), rate, first.shape[1::-1]
        )
        for image in (first, *images):
            if image is not None and image.shape == first.shape:
                video.write(image)
        video.release()
        return path.read_bytes()
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
