"""Descriptor of a release from a registry or a file; untrusted until verified.

    layout.json        which file goes where, and the chunks it consists of; see `store`
    release.json       every byte of the release, by digest; its own digest names the release
    release.json.sig   signature of release.json
    channel.json …     which release a channel holds now, and until when; see `freshness`

If a channel or an archive holds several variants of a model, these are the default's; the other variants have the first three in a folder
named by the release's digest, and channel.json says which one this device takes, see `runtime.variant`.

Over SSH, a device accepts what the logged-in user sends, device code included. A registry or file involves no login: if
the device has allowed_signers, signatures and statement are verified before anything else of the release is read.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Callable, Collection, Dict, Iterator, Optional, Set

from ..errors import DeviceError
from ..layout import RELEASE, RELEASE_SIGNATURE, release_path
from ..runtime.variant import MAX_VARIANTS, Facts, TakenVariant, select_variant
from . import freshness, store
from .cohort import CohortRule
from .manifest import MAX_DOCUMENT_BYTES, open_regular
from .receiver import MAX_CHUNK_BYTES, iter_members
from .signature import ALLOWED, MAX_SIGNATURE_BYTES

LAYOUT = "layout.json"
MAX_BYTES: Dict[str, int] = {
    LAYOUT: MAX_DOCUMENT_BYTES,
    RELEASE: MAX_DOCUMENT_BYTES,
    RELEASE_SIGNATURE: MAX_SIGNATURE_BYTES,
    freshness.STATEMENT: freshness.MAX_STATEMENT_BYTES,
    freshness.STATEMENT_SIGNATURE: MAX_SIGNATURE_BYTES,
    freshness.PERMIT: freshness.MAX_STATEMENT_BYTES,
    freshness.PERMIT_SIGNATURE: MAX_SIGNATURE_BYTES,
}
"""The documents of a descriptor, with the size limit of each."""
OWN_DOCUMENTS = (LAYOUT, RELEASE, RELEASE_SIGNATURE)
"""What each variant has of its own; the other documents are of the channel."""
MAX_FILE_BYTES = 1 << 40

Check = Callable[[Path, Dict[str, bytes], str, str, str], str]
Read = Callable[[Collection[str], str], Dict[str, bytes]]
"""Returns the documents with these names in a folder, which is empty or ends with a slash; no document is above its limit."""

_DIGEST = re.compile(r"[0-9a-f]{64}")
_FOLDER = re.compile(r"[0-9a-f]{64}/")
_MAX_NAMES = len(MAX_BYTES) + MAX_VARIANTS * len(OWN_DOCUMENTS)


@dataclass(frozen=True)
class ReleaseDescriptor:
    """A release, described by the documents it came with."""

    where: str
    layout: store.Layout
    documents: Dict[str, bytes]
    variant: Optional[TakenVariant] = None
    """Why it is this release, where there are several variants."""

    @property
    def digest(self) -> str:
        """Return the digest of the release."""
        return hashlib.sha256(self.documents[RELEASE]).hexdigest()

    @property
    def bundle(self) -> str:
        """Return the digest of the bundle in the release."""
        return str(json.loads(self.documents[RELEASE]).get("bundle", ""))

    def to_json(self) -> Dict[str, Any]:
        """Return what the device reports of it: its digest, its bundle's, and the variant that it is, if there are several."""
        described = {"release": self.digest, "bundle": self.bundle}
        return described if self.variant is None else {**described, "variant": self.variant.to_json()}

    @property
    def shadow(self) -> Optional[Dict[str, float]]:
        """Return how the release is to be compared on live frames first; None if the channel's statement asks for nothing."""
        try:
            return freshness.parse_statement(self.documents[freshness.STATEMENT], self.where).shadow
        except (DeviceError, KeyError):
            return None

    @property
    def rollout(self) -> Optional[CohortRule]:
        """Return which devices may take the release now; None if the channel has no statement, or it admits all.

        Raises:
            DeviceError: the statement is not valid.
        """
        statement = self.documents.get(freshness.STATEMENT)
        return None if statement is None else freshness.parse_statement(statement, self.where).rollout


def read_documents(file: Path, folder: str = "") -> Dict[str, bytes]:
    """Return the documents in a folder of an archive, before its first chunk; oversized members are not read into memory."""
    documents: Dict[str, bytes] = {}
    names: Set[str] = set()
    try:
        with open_regular(file) as stream:
            for name, content in iter_members(stream, MAX_DOCUMENT_BYTES):
                base = name[65:] if _FOLDER.match(name) else name
                if (
                    content is None
                    or len(content) > MAX_BYTES.get(base, -1)
                    or name in names
                    or len(names) >= _MAX_NAMES
                ):
                    break
                names.add(name)
                if name == folder + base:
                    documents[base] = content
    except OSError as error:
        remedy = "write it with: toolkit deploy BUNDLE --offline FILE"
        raise DeviceError(f"cannot be read: {error.strerror or error}", where=str(file), remedy=remedy) from None
    return documents


def load_descriptor(where: str, read: Read, facts: Facts, accelerator: str) -> ReleaseDescriptor:
    """Return the descriptor of the release that this device takes.

    The choice is made by the statement that `verify_trust` verifies afterwards, and by nothing else.

    Raises:
        DeviceError: see `parse_descriptor`; or the facts of this device cannot be read.
    """
    documents = read([name for name in MAX_BYTES if name not in OWN_DOCUMENTS], "")
    try:
        table = freshness.parse_statement(documents.get(freshness.STATEMENT, b""), where).variants
    except DeviceError:  # a device that requires a statement refuses it when it verifies it
        table = None
    taken = None if table is None else select_variant(table, facts(), accelerator)
    descriptor = parse_descriptor(where, {**documents, **read(OWN_DOCUMENTS, taken.folder if taken else "")})
    if taken is not None and taken.release != descriptor.digest:
        raise DeviceError("holds another release than its statement names", where=where, remedy="publish it again")
    return replace(descriptor, variant=taken)


def parse_descriptor(where: str, documents: Dict[str, bytes]) -> ReleaseDescriptor:
    """Return the descriptor for these documents, given by name.

    Raises:
        DeviceError: a document is missing or malformed, or they contradict each other; names every problem.
    """
    try:
        release = documents[RELEASE]
        descriptor = ReleaseDescriptor(where, json.loads(documents[LAYOUT]), documents)
        files = json.loads(release)["files"]
        problems = sorted({*_contradictions(descriptor.layout, files, descriptor.digest, len(release))})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DeviceError(f"describes no release: {type(error).__name__}: {error}", where=where) from None
    if problems:
        raise DeviceError("is not to be trusted: " + "; ".join(problems), where=where, remedy="write it again")
    return descriptor


def _contradictions(layout: store.Layout, files: Dict[str, Any], digest: str, size: int) -> Iterator[str]:
    """Yield differences between the layout and release.json, and unsafe paths."""
    if layout["place"] != release_path(digest):
        yield "the layout is of another release"
    described = {file["path"]: (file["sha256"], file["size_bytes"]) for file in layout["files"]}
    listed = {path: (entry["sha256"], entry["size_bytes"]) for path, entry in files.items()}
    if described != {**listed, RELEASE: (digest, size)} or len(described) != len(layout["files"]):
        yield f"layout and {RELEASE} name different files"
    for file in layout["files"]:
        yield from _file_problems(file)


def _file_problems(file: store.File) -> Iterator[str]:
    path, chunks = file["path"], list(store.chunks_of(file))
    if (
        path.startswith("/")
        or not path
        or {"", ".", ".."} & {*path.split("/")}
        or re.search(r"[\\\x00-\x1f\ud800-\udfff]", path)
    ):
        yield f"{path!r} leads elsewhere"
    if not all(_DIGEST.fullmatch(sha) for sha in (file["sha256"], *(sha for sha, _, _ in chunks))):
        yield f"{path!r} has a name that is not a digest"
    sizes = [size for _, _, size in chunks]
    if not all(type(size) is int and 0 <= size <= MAX_CHUNK_BYTES for size in sizes):
        yield f"{path!r} has a chunk of a size that is not allowed"
    elif type(file["size_bytes"]) is not int or sum(sizes) != file["size_bytes"] or sum(sizes) > MAX_FILE_BYTES:
        yield f"{path!r} has chunks that do not add up to it"


def verify_trust(
    root: Path, descriptor: ReleaseDescriptor, channel: str, check: Check = freshness.check_freshness
) -> str:
    """Verify signatures and freshness; return a message that names the signers, or says that none are required.

    `check` checks the signatures and the statement of the channel, and raises its floor.

    Raises:
        DeviceError: a signature is missing or not by an allowed signer, or the statement is not fresh.
    """
    allowed = root / ALLOWED
    if not allowed.exists():
        return f"not checked: this device has no {allowed}"
    if not descriptor.documents.get(RELEASE_SIGNATURE):
        remedy = "sign it: toolkit deploy --offline FILE --sign KEY, toolkit publish --sign KEY"
        raise DeviceError(f"is not signed, and {allowed} requires it", where=descriptor.where, remedy=remedy)
    return check(root, descriptor.documents, descriptor.digest, channel, descriptor.where)
