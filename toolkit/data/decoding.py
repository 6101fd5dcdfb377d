"""Decode images in confined workers: one per CPU, started on first use and then reused.

A worker receives the bytes of a file and returns an array; it cannot read any file. If it crashes, one image is lost.
"""

from __future__ import annotations

import atexit
import os
import queue
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.system.cpu_quota import available_cpus
from toolkit.system.sandbox import ResourceLimits, Sandbox, SandboxError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]

_LIMITS = ResourceLimits(memory_bytes=8 << 30, file_bytes=1 << 20, seconds=120, cpu_seconds=30 * 24 * 3600)

_CHECKED = 1 << 40
"""Bytes: no limit, for images that were checked when the data set was prepared."""


class DecodingError(ValueError):
    """An image that cannot be used; says why."""


class DecoderPool:
    """Confined workers, at most `size`; safe to use from several threads."""

    def __init__(self, size: int) -> None:
        self._idle: queue.LifoQueue[Sandbox | None] = queue.LifoQueue()
        for _ in range(size):
            self._idle.put(None)

    def call(self, function: str, **arguments: object) -> Any:
        """The result of a function of this module in a worker.

        Raises:
            DecodingError: the image cannot be used, or the worker crashed over it.
        """
        worker = self._idle.get()
        try:
            worker = worker or Sandbox(where="image", limits=_LIMITS).start()
            result = worker.call(f"toolkit.data.decoding:{function}", **arguments)
        except SandboxError as error:
            if worker:
                worker.close()
            worker = None
            raise DecodingError(error.problems[0].what) from None
        except BaseException:
            if worker:
                worker.close()
            worker = None
            raise
        finally:
            self._idle.put(worker)
        if "error" in result:
            raise DecodingError(result["error"])
        return result["value"]

    def close(self) -> None:
        """Stop the workers that are idle."""
        while not self._idle.empty():
            if worker := self._idle.get():
                worker.close()


def inspect_image(content: bytes, max_bytes: int | None = None) -> tuple[int, int, int | None]:
    """Height, width and perceptual hash of an image; the hash is None where there is nothing to see.

    Raises:
        DecodingError: it cannot be used.
    """
    from toolkit.device import image_io

    limit = image_io.MAX_BYTES if max_bytes is None else max_bytes
    height, width, image_hash = _pool(os.getpid()).call("inspect_here", content=content, max_bytes=limit)
    return height, width, image_hash


def decode_image(content: bytes, size: tuple[int, int], crop: str, max_bytes: int = _CHECKED) -> Pixels:
    """An image fitted to `size` = (height, width), u8 [height, width, 3]. Raises what `inspect_image` raises."""
    arguments = {"content": content, "size": list(size), "crop": crop, "max_bytes": max_bytes}
    pixels: Pixels = _pool(os.getpid()).call("decode_here", **arguments)
    return pixels


def decode_file(path: Path, size: tuple[int, int], crop: str) -> Pixels:
    """An image file that nothing has checked yet, fitted as by `decode_image`.

    Raises:
        DecodingError: it cannot be read or used; names the file.
    """
    from toolkit.device.image_io import MAX_BYTES

    try:
        return decode_image(path.read_bytes(), size, crop, MAX_BYTES)
    except (OSError, DecodingError) as error:
        why = error.strerror or str(error) if isinstance(error, OSError) else error
        raise DecodingError(f"{path}: {why}") from None


def decode_within(content: bytes, edge: int) -> Pixels:
    """An image of which no side is longer than `edge`, u8 [height, width, 3]. Raises what `inspect_image` raises."""
    pixels: Pixels = _pool(os.getpid()).call("within_here", content=content, edge=edge)
    return pixels


def decode_thumbnail(content: bytes) -> npt.NDArray[np.float32]:
    """The gray thumbnail that near duplicates are compared by. Raises what `inspect_image` raises."""
    thumbnail: npt.NDArray[np.float32] = _pool(os.getpid()).call("thumbnail_here", content=content)
    return thumbnail


def inspect_here(content: bytes, max_bytes: int) -> dict[str, Any]:
    """What `inspect_image` runs in a worker."""
    from toolkit.data.near_duplicates import perceptual_hash

    return _decoded(content, max_bytes, lambda image: [*image.shape[:2], perceptual_hash(image)])


def decode_here(content: bytes, size: list[int], crop: str, max_bytes: int) -> dict[str, Any]:
    """What `decode_image` runs in a worker."""
    from toolkit.device.image_io import resize

    return _decoded(content, max_bytes, lambda image: resize(image, (size[0], size[1]), crop))


def within_here(content: bytes, edge: int) -> dict[str, Any]:
    """What `decode_within` runs in a worker."""
    from toolkit.device.image_io import resize

    def fit(image: Pixels) -> Pixels:
        scale = edge / max(image.shape[:2])
        height, width = (max(1, round(side * scale)) for side in image.shape[:2])
        return resize(image, (height, width))

    return _decoded(content, _CHECKED, fit)


def thumbnail_here(content: bytes) -> dict[str, Any]:
    """What `decode_thumbnail` runs in a worker."""
    from toolkit.data.near_duplicates import thumbnail

    return _decoded(content, _CHECKED, thumbnail)


def _decoded(content: bytes, max_bytes: int, use: Any) -> dict[str, Any]:
    import cv2

    from toolkit.device.image_io import ImageError, read_image

    cv2.setNumThreads(1)
    try:
        return {"value": use(read_image(content, max_bytes))}
    except ImageError as error:
        return {"error": str(error).removeprefix("image: ")}


@cache
def _pool(process: int) -> DecoderPool:
    """The pool of this process; a forked one has its own."""
    del process
    pool = DecoderPool(available_cpus())
    atexit.register(pool.close)
    return pool
