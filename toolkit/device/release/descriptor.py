"""What a stick or a registry offers: a release that is not to be believed until it has been checked.

    layout.json        what shall be where, and how it is cut; see `store`
    release.json       every byte of the release, by digest; its own digest names the release
    release.json.sig   who says so

Over SSH a device takes what whoever logs in sends, device code included. Here nobody logs in: where the device has
allowed_signers, one of them must have signed release.json, before anything else of the descriptor is looked at.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator

from ..errors import DeviceError
from . import store
from .receiver import MAX_CHUNK_BYTES
from .signature import ALLOWED, check_signed

LAYOUT, RELEASE, SIGNATURE = "layout.json", "release.json", "release.json.sig"
MAX_DOCUMENT_BYTES = 16 << 20
"""What describes a release is not larger."""

_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class ReleaseDescriptor:
    """One release, described."""

    where: str
    layout: store.Layout
    release: bytes
    signature: bytes
    """Empty: not signed."""

    @property
    def digest(self) -> str:
        """The release's."""
        return hashlib.sha256(self.release).hexdigest()

    @property
    def bundle(self) -> str:
        """The digest of the bundle that the release is made of."""
        return str(json.loads(self.release).get("bundle", ""))


def parse_descriptor(where: str, documents: Dict[str, bytes]) -> ReleaseDescriptor:
    """From the documents by their names.

    Raises:
        DeviceError: one is missing, or they contradict one another; all of that is named.
    """
    try:
        release = documents[RELEASE]
        descriptor = ReleaseDescriptor(where, json.loads(documents[LAYOUT]), release, documents.get(SIGNATURE, b""))
        problems = sorted(
            set(_contradictions(descriptor.layout, json.loads(release)["files"], descriptor.digest, len(release)))
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DeviceError(f"describes no release: {type(error).__name__}: {error}", where=where) from None
    if problems:
        raise DeviceError("is not to be trusted: " + "; ".join(problems), where=where, remedy="make it anew")
    return descriptor


def _contradictions(layout: store.Layout, files: Dict[str, Any], digest: str, size: int) -> Iterator[str]:
    """What the layout says otherwise than release.json does, and names that would lead elsewhere."""
    if layout["place"] != f"releases/{digest}":
        yield "the layout is of another release"
    said = {file["path"]: (file["sha256"], file["size_bytes"]) for file in layout["files"]}
    named = {path: (entry["sha256"], entry["size_bytes"]) for path, entry in files.items()}
    if said != {**named, RELEASE: (digest, size)} or len(said) != len(layout["files"]):
        yield "layout and release.json name different files"
    for file in layout["files"]:
        yield from _file_problems(file)


def _file_problems(file: store.File) -> Iterator[str]:
    path, pieces = file["path"], list(store.chunks_of(file))
    if path.startswith("/") or not path or {"", ".", ".."} & set(path.split("/")) or re.search(r"[\\\n\r]", path):
        yield f"{path!r} leads elsewhere"
    if not all(_DIGEST.fullmatch(sha) for sha in (file["sha256"], *(sha for sha, _, _ in pieces))):
        yield f"{path!r} is named by something that is no digest"
    sizes = [size for _, _, size in pieces]
    if sum(sizes) != file["size_bytes"] or not all(0 <= size <= MAX_CHUNK_BYTES for size in sizes):
        yield f"{path!r} is cut into pieces that do not make it up"


def verify_signer(root: Path, descriptor: ReleaseDescriptor) -> str:
    """Who signed it, in words; that nobody was asked, where this device has no allowed_signers.

    Raises:
        DeviceError: it is not signed by one of them.
    """
    allowed = root / ALLOWED
    if not allowed.exists():
        return f"not checked: this device has no {allowed}"
    if not descriptor.signature:
        remedy = "sign it: toolkit deploy --offline FILE --sign KEY, toolkit publish --sign KEY"
        raise DeviceError(f"is not signed, and {allowed} asks for it", where=descriptor.where, remedy=remedy)
    with tempfile.TemporaryDirectory() as folder:
        document, signature = Path(folder, RELEASE), Path(folder, SIGNATURE)
        document.write_bytes(descriptor.release)
        signature.write_bytes(descriptor.signature)
        return str(check_signed(document, signature, allowed)["message"])
