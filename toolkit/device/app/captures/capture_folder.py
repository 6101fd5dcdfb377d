"""The folder of captures on the device: writing, limits, retention, and cleanup after a power cut.

An image is written first and its JSON last, each under a temporary name, flushed, and renamed. What a power cut leaves, a
temporary file or an image without JSON, is removed when the app starts. One app at a time uses a folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, Iterable, List, Optional

from ...capture_record import IMAGE_SUFFIX, JSON_SUFFIX, RANDOM, CaptureRecord, is_day, is_digest, read_record
from .capture_settings import MIB, CaptureLimits

PART_SUFFIX = ".part"
FOLDER_MODE, FILE_MODE = 0o770, 0o640
DAY_S = 86_400
CLOCK_SET_S = 60.0
"""A change of the clock against the monotonic one that counts as a clock that was set, in seconds."""
_LOCK = ".lock"


class FolderInUseError(OSError):
    """Another app stores its captures in this folder."""


@dataclass
class StoredCapture:
    """A capture in the folder."""

    digest: str
    day: str
    label: str
    policy: str
    size_bytes: int
    since: float
    """When its retention began, in seconds since 1970: the time of its files."""
    own: bool
    """Whether `since` was read from the clock of this process, which may still be set."""


class CaptureFolder:
    """Captures within the limits; used by one thread. Its methods raise OSError if the disk takes no more."""

    def __init__(
        self,
        path: Path,
        limits: CaptureLimits,
        clock: Callable[[], float] = time.time,
        free_bytes: Optional[Callable[[Path], int]] = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path, self._limits, self._clock, self._monotonic = path, limits, clock, monotonic
        self._free_bytes = free_bytes or (lambda folder: shutil.disk_usage(folder).free)
        self._entries: Dict[str, StoredCapture] = {}
        self._lock: Optional[int] = None
        self._offset = clock() - monotonic()
        self.evicted = self.expired = 0

    def open(self) -> None:
        """Create or lock the folder, remove what is not whole, and list the captures.

        Raises:
            FolderInUseError: another app has locked it.
        """
        self._path.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
        lock = os.open(self._path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise FolderInUseError(f"another app stores captures in {self._path}") from None
        self._lock = lock
        entries = [entry for folder in self._days() for entry in self._load(folder)]
        self._entries = {entry.digest: entry for entry in sorted(entries, key=lambda entry: entry.since)}

    def close(self) -> None:
        """Release the lock."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def count(self) -> int:
        """Return the number of captures."""
        return len(self._entries)

    @property
    def size_bytes(self) -> int:
        """Return the size of all captures, without their JSON."""
        return sum(entry.size_bytes for entry in list(self._entries.values()))

    def holds(self, digest: str) -> bool:
        """Return whether a capture with this digest is there."""
        return digest in self._entries

    def has_room(self) -> bool:
        """Return whether the disk is above the reserve."""
        return self._free_bytes(self._path) >= self._limits.reserve_mib * MIB

    def add(self, record: CaptureRecord, jpeg: bytes) -> None:
        """Store a capture, and remove others that are then beyond the limits."""
        self._make_room(record, len(jpeg))
        day = record.time[:10]
        folder = self._path / day
        folder.mkdir(FOLDER_MODE, exist_ok=True)
        _write(folder / (record.digest + IMAGE_SUFFIX), jpeg, record.seconds())
        _write(folder / (record.digest + JSON_SUFFIX), record.to_json(), record.seconds())
        self._entries[record.digest] = StoredCapture(
            record.digest, day, record.label, record.policy, len(jpeg), record.seconds(), own=True
        )

    def tend(self) -> None:
        """Follow the clock if it was set, forget what was deleted from outside, and remove what is too old."""
        self._follow_clock()
        for folder in self._days():
            with contextlib.suppress(OSError):  # fails unless the folder is empty
                folder.rmdir()
        for entry in list(self._entries.values()):
            if not self._place(entry, JSON_SUFFIX).exists():
                self._remove(entry)
        limit = self._clock() - self._limits.retention_days * DAY_S
        for entry in [entry for entry in self._entries.values() if entry.since <= limit]:
            self._remove(entry)
            self.expired += 1

    def _follow_clock(self) -> None:
        """Correct the times that came from this process's clock by as much as that has been set since."""
        offset = self._clock() - self._monotonic()
        change, self._offset = offset - self._offset, offset
        if abs(change) < CLOCK_SET_S:
            return
        for entry in self._entries.values():
            if entry.own:
                self._restamp(entry, entry.since + change)

    def _make_room(self, record: CaptureRecord, size_bytes: int) -> None:
        picked = [entry for entry in self._entries.values() if entry.policy != RANDOM and entry.label == record.label]
        if record.policy != RANDOM and len(picked) >= self._limits.most_of_class:
            self._evict(picked[0])
        most_bytes = self._limits.most_mib * MIB
        while self._entries and (self.count >= self._limits.most or self.size_bytes + size_bytes > most_bytes):
            self._evict(self._least_worth(size_bytes))

    def _least_worth(self, size_bytes: int) -> StoredCapture:
        """Return the oldest capture of the class with most; the oldest random one if these fill more than half.

        Random captures are removed by age alone, whatever their class, so that they stay a fair sample.
        """
        fair = [entry for entry in self._entries.values() if entry.policy == RANDOM]
        picked = [entry for entry in self._entries.values() if entry.policy != RANDOM]
        fair_bytes = sum(entry.size_bytes for entry in fair)
        too_many = 2 * len(fair) > self._limits.most or 2 * fair_bytes > self._limits.most_mib * MIB - size_bytes
        if not picked or (fair and too_many):
            return fair[0]
        ((label, _),) = Counter(entry.label for entry in picked).most_common(1)
        return next(entry for entry in picked if entry.label == label)

    def _evict(self, entry: StoredCapture) -> None:
        self._remove(entry)
        self.evicted += 1

    def _remove(self, entry: StoredCapture) -> None:
        """Remove a capture, its JSON first: an image alone is swept, JSON alone would be listed."""
        for suffix in (JSON_SUFFIX, IMAGE_SUFFIX):
            with contextlib.suppress(FileNotFoundError):
                self._place(entry, suffix).unlink()
        del self._entries[entry.digest]

    def _restamp(self, entry: StoredCapture, since: float) -> None:
        """Let the retention of a capture begin at another time."""
        entry.since = since
        with contextlib.suppress(OSError):  # deleted from outside
            os.utime(self._place(entry, JSON_SUFFIX), (since, since))

    def _place(self, entry: StoredCapture, suffix: str) -> Path:
        return self._path / entry.day / (entry.digest + suffix)

    def _days(self) -> List[Path]:
        return sorted(folder for folder in self._path.iterdir() if is_day(folder.name) and not folder.is_symlink())

    def _load(self, folder: Path) -> Iterable[StoredCapture]:
        """Yield the captures of a day; remove all else."""
        files = {file.name: file for file in folder.iterdir()}
        for file in files.values():
            digest, suffix = file.stem, file.suffix
            other = {IMAGE_SUFFIX: JSON_SUFFIX, JSON_SUFFIX: IMAGE_SUFFIX}.get(suffix)
            whole = other is not None and is_digest(digest) and digest + other in files
            entry = self._read(folder, digest) if whole and suffix == JSON_SUFFIX else None
            if entry is not None:
                yield entry
            elif not whole or suffix == JSON_SUFFIX:
                _discard(file, folder / (digest + IMAGE_SUFFIX))

    def _read(self, folder: Path, digest: str) -> Optional[StoredCapture]:
        """Return the entry of a capture; None if a power cut damaged its JSON.

        Where the clock was not synchronized, or was ahead, the capture's age is unknown: its retention begins at the first start after.
        """
        path = folder / (digest + JSON_SUFFIX)
        try:
            record = read_record(path.read_bytes(), digest)
        except ValueError:
            return None
        image = (folder / (digest + IMAGE_SUFFIX)).stat()
        since, now = path.stat().st_mtime, self._clock()
        entry = StoredCapture(digest, folder.name, record.label, record.policy, image.st_size, since, own=False)
        never_stamped = not record.clock_synchronized and abs(since - record.seconds()) < 1
        if image.st_size == 0:
            return None
        if never_stamped or since > now + DAY_S:
            entry.own = True
            self._restamp(entry, now)
        return entry


def _discard(*files: Path) -> None:
    for file in files:
        with contextlib.suppress(OSError):
            shutil.rmtree(file) if file.is_dir() and not file.is_symlink() else file.unlink()


def _write(path: Path, content: bytes, at: float) -> None:
    """Write a file with this time, whole or not at all."""
    part = path.with_name(f".{path.name}{PART_SUFFIX}")
    try:
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, FILE_MODE), "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.utime(part, (at, at))
        part.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink()
        raise
