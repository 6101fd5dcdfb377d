"""The device's end of `toolkit collect`: lists captures, reads them in parts, and deletes those that the controller has stored.

    request     {"do": "list" | "read" | "delete", …}, one line of JSON
    answer      {"ok": true, …} or {"ok": false, "error"}, one line of JSON; "gone" where the capture no longer exists

The controller sends this module; it needs Python 3.9 or later and the standard library.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import stat
import sys
from pathlib import Path
from typing import Any, Dict, List

from .capture_record import IMAGE_SUFFIX, JSON_SUFFIX, is_day, is_digest

CHUNK_BYTES = 192 << 10
MAX_LISTED = 50_000
MAX_LINE_BYTES = 8 << 20
Json = Dict[str, Any]


def main(arguments: List[str]) -> int:
    """Answer requests about the folder of captures, the only argument, until stdin ends."""
    folder = Path(arguments[0])
    for line in iter(lambda: sys.stdin.buffer.readline(MAX_LINE_BYTES), b""):
        print(json.dumps(answer_request(folder, json.loads(line))), flush=True)
    return 0


def answer_request(folder: Path, request: Json) -> Json:
    """Return the answer to one request."""
    try:
        if request["do"] == "list":
            return {"ok": True, "captures": _listed(folder)}
        if request["do"] == "read":
            return _read(_place(folder, request), int(request["offset"]))
        return {"ok": True, "deleted": sum(_delete(folder, each) for each in request["captures"])}
    except FileNotFoundError:
        return {"ok": False, "gone": True, "error": "no longer there"}
    except (OSError, ValueError) as error:
        return {"ok": False, "error": f"{type(error).__name__}: {error}"}


def _listed(folder: Path) -> List[Json]:
    """Return the captures, oldest day first; an image without JSON is none."""
    captures: List[Json] = []
    days = sorted(each for each in folder.iterdir() if is_day(each.name)) if folder.exists() else []
    for path in (path for day in days for path in sorted(day.glob("*" + JSON_SUFFIX))):
        with contextlib.suppress(FileNotFoundError):  # removed meanwhile
            status = path.with_suffix(IMAGE_SUFFIX).lstat()
            if is_digest(path.stem) and stat.S_ISREG(status.st_mode):
                captures.append({"day": path.parent.name, "digest": path.stem, "size": status.st_size})
    return captures[:MAX_LISTED]


def _place(folder: Path, capture: Json, suffix: str = "") -> Path:
    """Return the path of a capture's file.

    Raises:
        ValueError: it would lie elsewhere.
    """
    day, digest, ending = str(capture["day"]), str(capture["digest"]), suffix or str(capture["suffix"])
    if not is_day(day) or not is_digest(digest) or ending not in (IMAGE_SUFFIX, JSON_SUFFIX):
        raise ValueError("is not a capture")
    return folder / day / (digest + ending)


def _read(path: Path, offset: int) -> Json:
    """Return at most CHUNK_BYTES of a regular file, and its size."""
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("is not a regular file")
        stream.seek(offset)
        content = stream.read(CHUNK_BYTES)
    return {"ok": True, "data": base64.b64encode(content).decode(), "size": status.st_size}


def _delete(folder: Path, capture: Json) -> int:
    """Delete a capture, its JSON first; return 1, or 0 if it was gone."""
    try:
        _place(folder, capture, JSON_SUFFIX).unlink()
        _place(folder, capture, IMAGE_SUFFIX).unlink()
    except FileNotFoundError:
        return 0
    return 1
