"""A release as one file, for devices without a network; `python -m device install FILE` installs it there.

The documents that describe and sign it come first, then the chunks, as they are sent over SSH.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from toolkit import files
from toolkit.bundle.release import release_tree
from toolkit.deploy import commands
from toolkit.deploy.registry.channel_statement import (
    DEFAULT_STATEMENT,
    OFFLINE,
    StatementOptions,
    channel_documents,
    inherit_rules,
)
from toolkit.device.layout import RELEASE, RELEASE_SIGNATURE
from toolkit.device.release.descriptor import LAYOUT
from toolkit.device.release.signature import RELEASE as RELEASE_NAMESPACE
from toolkit.fleet.transfer import diff
from toolkit.fleet.transfer.diff import unique_chunks
from toolkit.fleet.transfer.stream import tar_member, tar_stream
from toolkit.fleet.transfer.tree import FileTree
from toolkit.system import ssh_signatures


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
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
) -> Archive:
    """Write the bundle's release to `path`, signed by an SSH key, for the devices that follow `channel`.

    Raises:
        BundleError: the bundle is not what its manifest says.
        UsageError: the key cannot sign.
    """
    tree = release_tree(bundle)
    rules = inherit_rules(b"", options, 0)
    documents = release_documents(tree, key, channel, rules)
    with files.atomic_write(path) as stream:
        for block in _blocks(tree, documents):
            stream.write(block)
    size = path.stat().st_size
    return Archive(path=str(path), bundle=tree.parent, release=tree.digest, size_bytes=size, signed=key is not None)


def release_documents(
    tree: FileTree, key: Path | None, channel: str, options: StatementOptions, last_counter: int = 0
) -> dict[str, bytes]:
    """Return the documents that describe and sign the release, by name."""
    release = next(file.source for file in tree.files if file.path == RELEASE)
    assert isinstance(release, bytes)  # noqa: S101 - it is made, not read
    layout = diff.layout(tree, commands.releases_path(tree.digest))
    documents = {LAYOUT: json.dumps(layout).encode(), RELEASE: release}
    if key is None:
        return documents
    statement = channel_documents(tree.digest, channel, (key, *options.cosigners), options, last_counter)
    return documents | {RELEASE_SIGNATURE: ssh_signatures.sign(release, key, RELEASE_NAMESPACE)} | statement


def _blocks(tree: FileTree, documents: dict[str, bytes]) -> Iterator[bytes]:
    for name, content in documents.items():
        yield tar_member(name, content)
    yield from tar_stream(unique_chunks(tree.files))
