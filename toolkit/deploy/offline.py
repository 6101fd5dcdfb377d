"""A release as one file, for devices without a network; `python -m device install FILE` installs it there.

The documents that describe and sign it come first, then the chunks, as they are sent over SSH.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from toolkit import files, hashing
from toolkit.bundle.bill_of_materials import write_bills
from toolkit.bundle.release import release_index, release_tree
from toolkit.deploy.registry.channel_statement import (
    DEFAULT_STATEMENT,
    OFFLINE,
    StatementOptions,
    channel_documents,
    counter_of,
    inherit_rules,
)
from toolkit.deploy.registry.release_variants import VariantSet, require_key, variant_trees
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
    kinds: Mapping[str, str] = field(default_factory=dict)
    """The variant for each kind of device, where there are several."""


def write_archive(
    bundle: Path,
    path: Path,
    key: Path | None = None,
    channel: str = OFFLINE,
    options: StatementOptions = DEFAULT_STATEMENT,
    records: Path | None = None,
    bills: Path | None = None,
    variants: VariantSet | None = None,
) -> ReleaseArchive:
    """Write the bundle's release to `path`, signed by an SSH key, for the devices that follow `channel`.

    The last statement of the channel, which determines who must sign, is the latest of the one in `records`, a folder
    with the statement of each channel, and the one in an archive at `path`; the new one is recorded there. The release's bill
    of materials and VEX document go to the folder `bills`. With `variants`, the archive holds these besides the bundle.

    Raises:
        BundleError: the bundle is not what its manifest says.
        UsageError: the key cannot sign, the channel requires more keys, or there are variants and no key.
    """
    require_key(variants, key)
    tree = release_tree(bundle)
    if bills is not None:
        write_bills(tree, bundle, bills)
    if variants and bills is not None:
        variants.write_bills(bills)
    record = None if records is None else records / f"{hashing.sha256_bytes(channel.encode())}.json"
    last = max((_recorded(record), _archived(path, channel)), key=counter_of)
    rules = inherit_rules(last, options, 0 if key is None else 1 + len(options.cosigners))
    documents = release_documents(tree, key, channel, rules, counter_of(last), variants)
    with files.atomic_write(path) as stream:
        for block in _blocks(variant_trees(tree, variants), documents):
            stream.write(block)
    if record is not None and STATEMENT in documents:
        with files.atomic_write(record) as stream:
            stream.write(documents[STATEMENT])
    size = path.stat().st_size
    return ReleaseArchive(
        path=str(path),
        bundle=tree.parent,
        release=tree.digest,
        size_bytes=size,
        signed=key is not None,
        kinds=variants.kinds if variants else {},
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
    tree: FileTree,
    key: Path | None,
    channel: str,
    options: StatementOptions,
    last_counter: int = 0,
    variants: VariantSet | None = None,
) -> dict[str, bytes]:
    """Return the documents that describe and sign the release, by name; those of other variants in a folder for each."""
    keys = () if key is None else (key, *options.cosigners)
    documents = _own_documents(tree, keys)
    if keys:
        options = replace(options, variants=variants.choice if variants else None)
        documents |= channel_documents(tree.digest, channel, keys, options, last_counter)
    for other in variants.trees if variants else ():
        documents |= {f"{other.digest}/{name}": content for name, content in _own_documents(other, keys).items()}
    return documents


def _own_documents(tree: FileTree, keys: Sequence[Path]) -> dict[str, bytes]:
    """Return the documents that describe and sign one release alone."""
    index = release_index(tree)
    documents = {LAYOUT: json.dumps(diff.layout(tree, release_path(tree.digest))).encode(), RELEASE: index}
    if keys:
        signatures = (ssh_signatures.sign(index, key, RELEASE_NAMESPACE) for key in keys)
        documents[RELEASE_SIGNATURE] = b"".join(signatures)
    return documents


def _blocks(trees: Sequence[FileTree], documents: dict[str, bytes]) -> Iterator[bytes]:
    for name, content in documents.items():
        yield tar_member(name, content)
    yield from tar_stream(unique_chunks(file for tree in trees for file in tree.files))
