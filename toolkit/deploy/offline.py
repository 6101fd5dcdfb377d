"""A release as one file, for devices without a network; `python -m device install FILE` installs it there.

The documents that describe and sign it come first, then the chunks, as they are sent over SSH.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from toolkit import files, hashing
from toolkit.bundle.bill_of_materials import write_bills
from toolkit.bundle.release import release_tree
from toolkit.deploy.registry.channel_statement import (
    DEFAULT_STATEMENT,
    OFFLINE,
    StatementOptions,
    channel_documents,
    counter_of,
    inherit_rules,
)
from toolkit.device.errors import DeviceError
from toolkit.device.layout import RELEASE, RELEASE_SIGNATURE, release_path
from toolkit.device.release.descriptor import LAYOUT, read_documents
from toolkit.device.release.freshness import STATEMENT, parse_statement
from toolkit.device.release.signature import RELEASE as RELEASE_NAMESPACE
from toolkit.fleet.transfer import diff
from toolkit.fleet.transfer.diff import unique_chunks
from toolkit.fleet.transfer.stream import tar_member, tar_stream
from toolkit.fleet.transfer.tree import FileTree
from toolkit.system import ssh_signatures


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseArchive:
    """The archive that was written."""

    path: str
    bundle: str
    release: str
    size_bytes: int
    signed: bool


def write_archive(
    bundle: Path,
    path: Path,
    key: Path | None = None,
    channel: str = OFFLINE,
    options: StatementOptions = DEFAULT_STATEMENT,
    records: Path | None = None,
    bills: Path | None = None,
) -> ReleaseArchive:
    """Write the bundle's release to `path`, signed by an SSH key, for the devices that follow `channel`.

    The last statement of the channel, which determines who must sign, is the latest of the one in `records`, a folder
    with the statement of each channel, and the one in an archive at `path`; the new one is recorded there. The release's bill
    of materials and VEX document go to the folder `bills`.

    Raises:
        BundleError: the bundle is not what its manifest says.
        UsageError: the key cannot sign, or the channel requires more keys.
    """
    tree = release_tree(bundle)
    if bills is not None:
        write_bills(tree, bundle, bills)
    record = None if records is None else records / f"{hashing.sha256_bytes(channel.encode())}.json"
    last = max((_recorded(record), _archived(path, channel)), key=counter_of)
    rules = inherit_rules(last, options, 0 if key is None else 1 + len(options.cosigners))
    documents = release_documents(tree, key, channel, rules, counter_of(last))
    with files.atomic_write(path) as stream:
        for block in _blocks(tree, documents):
            stream.write(block)
    if record is not None and STATEMENT in documents:
        with files.atomic_write(record) as stream:
            stream.write(documents[STATEMENT])
    size = path.stat().st_size
    return ReleaseArchive(
        path=str(path), bundle=tree.parent, release=tree.digest, size_bytes=size, signed=key is not None
    )


def _recorded(record: Path | None) -> bytes:
    """Return the recorded statement of a channel; empty without one."""
    return record.read_bytes() if record is not None and record.exists() else b""


def _archived(path: Path, channel: str) -> bytes:
    """Return the statement in an archive that is about to be replaced; empty if it is for another channel."""
    try:
        statement = read_documents(path).get(STATEMENT, b"")
        return statement if parse_statement(statement, str(path)).channel == channel else b""
    except DeviceError:
        return b""


def release_documents(
    tree: FileTree, key: Path | None, channel: str, options: StatementOptions, last_counter: int = 0
) -> dict[str, bytes]:
    """Return the documents that describe and sign the release, by name."""
    release = next(file.source for file in tree.files if file.path == RELEASE)
    assert isinstance(release, bytes)  # noqa: S101 - it is made, not read
    layout = diff.layout(tree, release_path(tree.digest))
    documents = {LAYOUT: json.dumps(layout).encode(), RELEASE: release}
    if key is None:
        return documents
    keys = (key, *options.cosigners)
    signatures = b"".join(ssh_signatures.sign(release, each, RELEASE_NAMESPACE) for each in keys)
    statement = channel_documents(tree.digest, channel, keys, options, last_counter)
    return documents | {RELEASE_SIGNATURE: signatures} | statement


def _blocks(tree: FileTree, documents: dict[str, bytes]) -> Iterator[bytes]:
    for name, content in documents.items():
        yield tar_member(name, content)
    yield from tar_stream(unique_chunks(tree.files))
