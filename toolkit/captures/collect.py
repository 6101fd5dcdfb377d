"""Collect new captures from devices, each once, even if part of the fleet is offline.

An image is fetched into `captures/parts/<digest>`, so that the next call continues where one was cut off. It is stored if its
digest is right, its JSON is valid, it can be decoded, and it looks like no image that is there. Random captures, which must
stay a fair sample, and those that somebody asked for are stored even if they look like others.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from toolkit.artifacts.captured_image import CameraReading, CapturedImage, NearDuplicate
from toolkit.artifacts.fleet import Device
from toolkit.captures.catalog import FOLDER, collected, image_path, parse_sidecar
from toolkit.captures.device_captures import CaptureGoneError, DeviceCaptures, RemoteCapture, open_captures
from toolkit.data.decoding import DecodingError, inspect_image
from toolkit.data.near_duplicates import candidate_pairs, confirm_pairs
from toolkit.device.capture_record import MAX_IMAGE_BYTES, RANDOM, REQUESTED
from toolkit.errors import FleetError, MachineError
from toolkit.files import atomic_write
from toolkit.fleet import FleetResult, Shell, connect, fan_out
from toolkit.fleet.pool import DEFAULT_LIMIT
from toolkit.fleet.transfer.stream import RateLimit
from toolkit.fleet.watch import read_sample
from toolkit.hashing import sha256_bytes, sha256_file, sha256_json
from toolkit.progress import Progress, Silent
from toolkit.store import Store
from toolkit.workspace import Workspace

PARTS = "parts"
ALWAYS_STORED = (RANDOM, REQUESTED)
_MOST_REASONS = 20


@dataclass(slots=True, kw_only=True)
class Collected:
    """What became of one device's captures; each is counted once."""

    stored: int = 0
    known: int = 0
    """Were here before, or came from another device in this call."""
    near_duplicates: int = 0
    refused: int = 0
    """Are not valid: `reasons` says why."""
    gone: int = 0
    """The device removed them meanwhile."""
    deleted: int = 0
    """Of all of these, how many the device deleted on request."""
    received_bytes: int = 0
    reasons: list[str] = field(default_factory=list)
    """Of the first 20 refused ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectOptions:
    """How to collect."""

    bandwidth: RateLimit | None = None
    """The limit of all devices together."""
    delete: bool = False
    """Whether devices delete what is safely here."""
    forks: int = DEFAULT_LIMIT


def collect(
    devices: Sequence[Device],
    workspace: Workspace,
    store: Store,
    options: CollectOptions | None = None,
    progress: Progress | None = None,
) -> FleetResult[Collected]:
    """Collect what is new from each device; devices that cannot be reached are the result's errors.

    Raises:
        MachineError: another call collects into this workspace.
    """
    chosen = options or CollectOptions()
    with _only_one(workspace):
        library = _Library(workspace, store)

        def fetch(device: Device) -> Collected:
            with connect(device) as shell:
                done = collect_device(shell, device, library, chosen)
                record_camera(shell, device, store)
                return done

        result = fan_out(devices, fetch, chosen.forks, progress=progress or Silent(), title="collecting")
        if not result.errors:
            shutil.rmtree(library.parts, ignore_errors=True)  # may not exist; what stays is continued next time
    return result


def collect_device(shell: Shell, device: Device, library: _Library, options: CollectOptions) -> Collected:
    """Collect what is new from one device.

    Raises:
        FleetError: it cannot be reached, or does not answer as it should.
    """
    done = Collected()
    with open_captures(shell, device, options.bandwidth) as source:
        listed = source.listed()
        for capture in listed:
            if not library.claim(capture.digest):
                done.known += 1
                continue
            try:
                library.add(capture, device, source, done)
            except CaptureGoneError:
                done.gone += 1
            except (ValueError, DecodingError) as error:
                done.refused += 1
                done.reasons += [f"{capture.digest[:12]}: {error}"] if len(done.reasons) < _MOST_REASONS else []
            finally:
                library.release(capture.digest)
        safe = [capture for capture in listed if library.is_safe(capture.digest)] if options.delete else []
        done.deleted = source.delete(safe) if safe else 0
    return done


def record_camera(shell: Shell, device: Device, store: Store) -> None:
    """Record what drift detection says of the device's camera; nothing where it is off, or if the app does not answer."""
    with suppress(FleetError):
        sample = read_sample(device, shell)
        if sample.camera is None or not sample.release:
            return
        at = datetime.now(UTC).isoformat(timespec="microseconds")
        store.put(
            CameraReading(
                digest=sha256_json([device.name, sample.release, at]),
                parent=sample.release,
                device=device.name,
                name=sample.name or "",
                at=at,
                frames=sample.camera.frames,
                means=sample.camera.means,
                classes=sample.camera.classes,
                raised=sample.drift or (),
                learned=sample.drift_learned or 0.0,
            )
        )


class _Library:
    """The captures of the workspace; used by the threads of all devices."""

    def __init__(self, workspace: Workspace, store: Store) -> None:
        self._workspace, self._store = workspace, store
        self._lock = threading.Lock()
        self._captures = {capture.digest: capture.perceptual_hash for capture in collected(store)}
        self._duplicates = {each.digest for each in store.all(NearDuplicate)}
        self._claimed: set[str] = set()
        self.parts = workspace.folder(FOLDER, PARTS)

    def claim(self, digest: str) -> bool:
        """Return whether a capture is new, and then reserve it for the caller."""
        with self._lock:
            if digest in self._claimed or digest in self._duplicates:
                return False
            if digest in self._captures and image_path(self._workspace, digest).exists():
                return False
            self._claimed.add(digest)
            return True

    def release(self, digest: str) -> None:
        """Let another device deliver a capture that this one did not."""
        with self._lock:
            self._claimed.discard(digest)

    def is_safe(self, digest: str) -> bool:
        """Return whether the image is here, whole and recorded, or one that looks the same is."""
        with self._lock:
            if digest in self._duplicates:
                return True
            recorded = digest in self._captures
        path = image_path(self._workspace, digest)
        return recorded and path.is_file() and sha256_file(path) == digest

    def add(self, capture: RemoteCapture, device: Device, source: DeviceCaptures, done: Collected) -> None:
        """Fetch a capture and store it, or record which image it looks like.

        Raises:
            ValueError: it is not valid.
            DecodingError: its image cannot be decoded.
        """
        sidecar = source.read_json(capture)
        parse_sidecar(sidecar, capture.digest, device.name)  # before the image is fetched for nothing
        part = self.parts / capture.digest
        self._fetch(capture, source, part, done)
        content = part.read_bytes()
        if sha256_bytes(content) != capture.digest:
            part.unlink()
            raise ValueError("the image has another digest; the next call fetches it again")
        *_, perceptual_hash = inspect_image(content)
        record = parse_sidecar(sidecar, capture.digest, device.name, perceptual_hash)
        with self._lock:
            same = None if record.policy in ALWAYS_STORED else self._looks_like(part, perceptual_hash)
            if same is None:
                self._keep(record, content)
                done.stored += 1
            else:
                self._forget(record, same)
                done.near_duplicates += 1
        part.unlink()

    def _fetch(self, capture: RemoteCapture, source: DeviceCaptures, part: Path, done: Collected) -> None:
        """Continue the part of an image; a part that is longer than the image is fetched from the start."""
        offset = part.stat().st_size if part.exists() else 0
        if capture.size_bytes > MAX_IMAGE_BYTES:
            raise ValueError(f"its image has more than {MAX_IMAGE_BYTES} bytes")
        offset = 0 if offset > capture.size_bytes else offset
        with part.open("r+b" if offset else "wb") as stream:
            stream.seek(offset)
            for block in source.read_image(capture, offset) if offset < capture.size_bytes else ():
                stream.write(block)
                done.received_bytes += len(block)

    def _looks_like(self, part: Path, perceptual_hash: int | None) -> str | None:
        """Return the digest of a stored capture that looks the same as the image in `part`."""
        digests = [*self._captures]
        hashes = [*self._captures.values(), perceptual_hash]
        pairs = candidate_pairs(hashes, [0] * len(digests) + [1])
        paths = [*(image_path(self._workspace, digest) for digest in digests), part]
        present = [pair for pair in pairs if paths[pair[0]].is_file()]
        confirmed = confirm_pairs(present, paths, Silent())
        return digests[confirmed[0].one] if confirmed else None

    def _keep(self, record: CapturedImage, content: bytes) -> None:
        with atomic_write(image_path(self._workspace, record.digest)) as stream:
            stream.write(content)
        self._store.put(record)
        self._captures[record.digest] = record.perceptual_hash

    def _forget(self, record: CapturedImage, same: str) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._store.put(NearDuplicate(digest=record.digest, parent=same, device=record.device, collected_at=now))
        self._duplicates.add(record.digest)


@contextmanager
def _only_one(workspace: Workspace) -> Iterator[None]:
    """Hold the lock of the workspace's captures.

    Raises:
        MachineError: another process holds it.
    """
    path = workspace.folder(FOLDER) / ".lock"
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise MachineError(
                "another `toolkit collect` is running in this workspace", where=str(path), remedy="wait until it ends"
            ) from None
        yield
    finally:
        os.close(handle)
