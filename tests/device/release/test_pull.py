"""Chunks that a device fetches from a registry, beside what an earlier pull left."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, cast

from toolkit.device.release.oci_registry import Registry, oci_digest
from toolkit.device.release.pull import CHUNK, CHUNK_ZLIB, SHA256, download_chunks
from toolkit.hashing import sha256_bytes

FIRST, SECOND = b"first" * 100, b"second" * 100
BLOBS = {oci_digest(FIRST): FIRST, oci_digest(zlib.compress(SECOND)): zlib.compress(SECOND)}
LAYERS: list[dict[str, Any]] = [
    {"mediaType": CHUNK, "digest": oci_digest(FIRST)},
    {
        "mediaType": CHUNK_ZLIB,
        "digest": oci_digest(zlib.compress(SECOND)),
        "annotations": {SHA256: sha256_bytes(SECOND)},
    },
]
DIGESTS = {sha256_bytes(content): content for content in (FIRST, SECOND)}


class Shelf:
    """A registry that notes what is fetched."""

    def __init__(self, blobs: dict[str, bytes]) -> None:
        self._blobs = blobs
        self.fetched: list[str] = []

    def fetch_blobs(self, digests: Iterable[str], take: Callable[[str, bytes], None]) -> None:
        for digest in digests:
            self.fetched.append(digest)
            take(digest, self._blobs[digest])


def download(folder: Path, blobs: dict[str, bytes] = BLOBS) -> tuple[list[str], list[str]]:
    """What is there afterwards, and what was fetched for that."""
    shelf = Shelf(blobs)
    return download_chunks(cast("Registry", shelf), {"layers": LAYERS}, {*DIGESTS}, folder), shelf.fetched


def test_chunks_that_are_there_are_not_fetched_again(tmp_path: Path) -> None:
    assert download(tmp_path) == (sorted(DIGESTS), [*BLOBS])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == DIGESTS
    assert download(tmp_path) == (sorted(DIGESTS), [])


def test_chunk_that_was_cut_off_is_fetched_again(tmp_path: Path) -> None:
    (tmp_path / sha256_bytes(FIRST)).write_bytes(FIRST[:10])
    (tmp_path / sha256_bytes(b"of another release")).write_bytes(b"of another release")
    assert download(tmp_path) == (sorted(DIGESTS), [*BLOBS])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == DIGESTS


def test_blob_with_another_chunk_than_stated_is_not_stored(tmp_path: Path) -> None:
    blobs = dict.fromkeys(BLOBS, b"something else")
    assert download(tmp_path, blobs) == ([], [*BLOBS])
    assert not list(tmp_path.iterdir())
