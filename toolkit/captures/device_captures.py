"""The captures on one device, read through a shell; its answers are untrusted."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from toolkit.artifacts.fleet import Device
from toolkit.device.capture_record import MAX_IMAGE_BYTES, MAX_JSON_BYTES, is_day, is_digest
from toolkit.device.capture_transfer import CHUNK_BYTES
from toolkit.device.layout import CAPTURES
from toolkit.errors import FleetError
from toolkit.fleet.ssh.shell import Ask, Shell
from toolkit.fleet.transfer.scripts import program, receiver
from toolkit.fleet.transfer.stream import RateLimit

FOLDER = "toolkit_captures"
"""The inventory's variable for the folder of captures on a device, where it is not ROOT/captures."""
MODULES = ("capture_record", "capture_transfer")
_ENCODING = 4 / 3
"""Size of base64 per byte."""
_PATIENCE_S, _SLOWEST_BYTES_PER_S = 60.0, 4000.0


class CaptureGoneError(Exception):
    """The device has removed a capture since it was listed."""


@dataclass(frozen=True, slots=True)
class RemoteCapture:
    """A capture as the device lists it."""

    day: str
    digest: str
    size_bytes: int

    def to_json(self) -> dict[str, str]:
        """Return what names it in a request."""
        return {"day": self.day, "digest": self.digest}


class DeviceCaptures:
    """The captures on one device, while it is connected."""

    def __init__(self, device: Device, ask: Ask, limit: RateLimit | None) -> None:
        self._device, self._send, self._limit = device, ask, limit
        self._preamble = program(MODULES)

    def listed(self) -> tuple[RemoteCapture, ...]:
        """Return all captures, oldest day first.

        Raises:
            FleetError: its folder cannot be read, or its answer is not valid.
        """
        captures = self._checked({"do": "list"}).get("captures")
        if not isinstance(captures, list):
            raise self._invalid("it lists no captures")
        return tuple(map(self._parsed, captures))

    def read_json(self, capture: RemoteCapture) -> bytes:
        """Return the JSON of a capture.

        Raises:
            CaptureGoneError: the device has removed it.
            FleetError: it cannot be read.
        """
        return b"".join(self._parts(capture, ".json", 0, MAX_JSON_BYTES))

    def read_image(self, capture: RemoteCapture, offset: int) -> Iterator[bytes]:
        """Yield the rest of the image from a byte on. Raises what `read_json` raises."""
        yield from self._parts(capture, ".jpg", offset, MAX_IMAGE_BYTES)

    def delete(self, captures: Sequence[RemoteCapture]) -> int:
        """Delete captures; return how many there were.

        Raises:
            FleetError: the device refuses, for example because the login may not.
        """
        deleted = self._checked({"do": "delete", "captures": [each.to_json() for each in captures]}).get("deleted")
        return deleted if isinstance(deleted, int) else 0

    def _parts(self, capture: RemoteCapture, suffix: str, offset: int, most: int) -> Iterator[bytes]:
        size = offset + 1
        while offset < size:
            if self._limit is not None:
                self._limit.take(int(min(CHUNK_BYTES, max(capture.size_bytes - offset, 1)) * _ENCODING))
            answer = self._checked({"do": "read", **capture.to_json(), "suffix": suffix, "offset": offset})
            part, reported = self._content(answer), answer.get("size")
            if not isinstance(reported, int) or not 0 <= reported <= most:
                raise self._invalid(f"{capture.digest[:12]}{suffix} has more than {most} bytes")
            size = reported
            if not part and offset < size:
                raise self._invalid(f"{capture.digest[:12]}{suffix} ends early")
            offset += len(part)
            yield part

    def _content(self, answer: dict[str, Any]) -> bytes:
        try:
            content = base64.b64decode(answer["data"], validate=True)
        except (KeyError, TypeError, ValueError, binascii.Error):
            raise self._invalid("it sends invalid base64") from None
        return content[:CHUNK_BYTES]

    def _parsed(self, entry: Any) -> RemoteCapture:
        match entry:
            case {"day": str(day), "digest": str(digest), "size": int(size)} if is_day(day) and is_digest(digest):
                return RemoteCapture(day, digest, size)
        raise self._invalid("its list has an entry that is not a capture")

    def _checked(self, request: dict[str, Any]) -> dict[str, Any]:
        slowest = _SLOWEST_BYTES_PER_S if self._limit is None else self._limit.bytes_per_s / 64
        line = self._send(self._preamble + json.dumps(request).encode(), _PATIENCE_S + CHUNK_BYTES / slowest)
        self._preamble = b""
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise self._invalid("its answer is not a JSON object")
        if answer.get("ok") is not True:
            if answer.get("gone"):
                raise CaptureGoneError
            raise FleetError(
                f"its captures: {str(answer.get('error'))[:300]}",
                where=self._device.name,
                remedy="check that the login can read and write the folder: docs/guides/capture.md",
            )
        return answer

    def _invalid(self, why: str) -> FleetError:
        return FleetError(f"sent captures that are not valid: {why}", where=self._device.name)


@contextmanager
def open_captures(shell: Shell, device: Device, limit: RateLimit | None = None) -> Iterator[DeviceCaptures]:
    """Yield the captures of a device, for a with-block; `limit` is shared by all devices."""
    folder = str(device.variables.get(FOLDER) or f"{device.root}/{CAPTURES}")
    with shell.converse(receiver(device, folder)) as ask:
        yield DeviceCaptures(device, ask, limit)
