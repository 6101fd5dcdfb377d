"""Values between the toolkit and a confined worker: JSON with bytes and number arrays beside it, never pickles.

A frame is the header's length (8 bytes, big-endian), the header, and the blobs whose sizes the header lists.
"""

from __future__ import annotations

import json
import socket
import struct
import time
from pathlib import Path
from typing import Any

HEADER_MAX_BYTES = 1 << 28
FRAME_MAX_BYTES = 1 << 33
_PIECE_BYTES = 1 << 20


class WireError(Exception):
    """The other side sent something that is not a frame, or closed the channel."""


def send(channel: socket.socket, value: object) -> None:
    """Send one value: None, bool, int, float, str, bytes, paths (as text), arrays, lists and dictionaries of them."""
    blobs: list[Any] = []
    header = json.dumps({"value": _encode(value, blobs), "blobs": [len(blob) for blob in blobs]}).encode()
    channel.sendall(struct.pack(">Q", len(header)) + header)
    for blob in blobs:
        channel.sendall(blob)


def receive(channel: socket.socket, deadline: float | None = None) -> Any:
    """The next value.

    Raises:
        WireError: the channel is closed, or what comes is not a frame.
        TimeoutError: `deadline`, by time.monotonic(), has passed.
    """
    (length,) = struct.unpack(">Q", _read(channel, 8, deadline))
    if length > HEADER_MAX_BYTES:
        raise WireError(f"a header of {length} bytes")
    try:
        header = json.loads(_read(channel, length, deadline))
        sizes = [int(size) for size in header["blobs"]]
        if min(sizes, default=0) < 0 or sum(sizes) > FRAME_MAX_BYTES:
            raise WireError(f"a frame of {sum(sizes)} bytes")
        blobs = [_read(channel, size, deadline) for size in sizes]
        return _decode(header["value"], blobs)
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise WireError(f"not a frame: {error}") from None


def _read(channel: socket.socket, length: int, deadline: float | None) -> bytearray:
    content = bytearray()
    while len(content) < length:
        if deadline is not None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            channel.settimeout(left)
        piece = channel.recv(min(_PIECE_BYTES, length - len(content)))
        if not piece:
            raise WireError("the channel is closed")
        content += piece
    channel.settimeout(None)
    return content


def _encode(value: object, blobs: list[Any]) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, bytes | bytearray):
        blobs.append(value)
        return {"bytes": len(blobs) - 1}
    if isinstance(value, list | tuple):
        return {"list": [_encode(item, blobs) for item in value]}
    if isinstance(value, dict):
        return {"dict": [[_encode(key, blobs), _encode(item, blobs)] for key, item in value.items()]}
    return _encode_array(value, blobs)


def _encode_array(value: object, blobs: list[Any]) -> Any:
    import numpy as np

    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"a confined worker cannot pass {type(value).__name__}")
    blobs.append(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data if array.size else b"")
    return {"array": len(blobs) - 1, "dtype": array.dtype.str, "shape": list(array.shape)}


def _decode(value: Any, blobs: list[bytearray]) -> Any:
    if not isinstance(value, dict):
        return value
    if "bytes" in value:
        return bytes(blobs[value["bytes"]])
    if "list" in value:
        return [_decode(item, blobs) for item in value["list"]]
    if "dict" in value:
        return {_decode(key, blobs): _decode(item, blobs) for key, item in value["dict"]}
    return _decode_array(value, blobs)


def _decode_array(value: Any, blobs: list[bytearray]) -> Any:
    import numpy as np

    kind = np.dtype(str(value["dtype"]))
    if kind.kind not in "biuf":
        raise WireError(f"an array of {kind}")
    return np.frombuffer(blobs[value["array"]], kind).reshape(value["shape"])
