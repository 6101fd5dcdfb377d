"""Publish a release to an OCI registry, from which devices pull it.

A release is one artifact (an OCI 1.1 image manifest with an artifactType): its first layers describe the release, the others
are its chunks. Only chunks that the registry lacks are sent, and a device fetches only what it lacks. The device's side is
toolkit/device/release/pull.py.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from toolkit.bundle.bill_of_materials import write_bills
from toolkit.bundle.release import release_index, release_tree
from toolkit.deploy.offline import release_documents
from toolkit.deploy.registry.channel_statement import (
    DEFAULT_STATEMENT,
    StatementOptions,
    counter_of,
    inherit_rules,
    is_due,
)
from toolkit.deploy.registry.oci_registry import (
    RELEASE_ANNOTATION,
    VARIANTS_ANNOTATION,
    PublishingRegistry,
    open_registry,
)
from toolkit.deploy.registry.release_variants import VariantSet, require_key, variant_trees
from toolkit.device.layout import MANIFEST as BUNDLE_MANIFEST
from toolkit.device.layout import RELEASE, RELEASE_SIGNATURE
from toolkit.device.release.freshness import STATEMENT, STATEMENT_SIGNATURE
from toolkit.device.release.oci_registry import MANIFEST, oci_digest
from toolkit.device.release.pull import CHUNK, EMPTY, OWN, SHA256, TITLE
from toolkit.device.release.signature import CHANNEL as CHANNEL_NAMESPACE
from toolkit.device.release.signature import RELEASE as RELEASE_NAMESPACE
from toolkit.device.release.signature import split_signatures
from toolkit.fleet.transfer.diff import unique_chunks
from toolkit.fleet.transfer.stream import compress
from toolkit.fleet.transfer.tree import FileTree
from toolkit.progress import Progress, Silent
from toolkit.system.ssh_signatures import is_signed_by

RELEASE_TYPE = "application/vnd.edge-vision-toolkit.release.v1"
DOCUMENT = "application/vnd.edge-vision-toolkit.document.v1"
_BUNDLE = f"{OWN}.bundle"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedRelease:
    """What a channel holds from now on."""

    channel: str
    digest: str
    """Of the artifact."""
    bundle: str
    release: str
    signed: bool
    sent_bytes: int
    """0: the registry had every chunk."""
    changed: bool
    kinds: Mapping[str, str] = field(default_factory=dict)
    """The variant for each kind of device, where there are several."""


def publish(
    bundle: Path,
    channel: str,
    *,
    key: Path | None = None,
    credentials: Path | None = None,
    plain: bool = False,
    progress: Progress | None = None,
    options: StatementOptions = DEFAULT_STATEMENT,
    bills: Path | None = None,
    variants: VariantSet | None = None,
) -> PublishedRelease:
    """Publish the bundle's release to a channel, signed by an SSH key; chunks that the registry has are not sent.

    The release's bill of materials and VEX document go to the folder `bills`. With `variants`, the channel holds these besides
    the bundle, and each device takes one.

    Raises:
        BundleError: the bundle differs from its manifest.
        UsageError: the key cannot sign, the channel is not valid, or there are variants and no key.
        FleetError: the registry cannot be reached, or refuses.
    """
    require_key(variants, key)
    tree = release_tree(bundle)
    if bills is not None:
        write_bills(tree, bundle, bills)
    if variants and bills is not None:
        variants.write_bills(bills)
    options = replace(options, variants=variants.choice if variants else None)
    with open_registry(channel, credentials, plain=plain) as registry:
        before, manifest = registry.tagged(registry.tag)
        statement = registry.document(manifest, STATEMENT)
        keys = () if key is None else (key, *options.cosigners)
        options = inherit_rules(statement, options, len(keys))
        renewed = key is not None and is_due(statement, options)
        trees = variant_trees(tree, variants)
        if not renewed and _is_published(registry, manifest, trees, keys):
            return _published(registry, tree, before, key, variants, sent_bytes=0, changed=False)
        documents = release_documents(tree, key, registry.channel, options, counter_of(statement), variants)
        blobs = list(_blobs(trees, documents))
        sent = 0
        with (progress or Silent()).track("publishing files", len(blobs)) as task:
            for layer, content in blobs:
                sent += _put(registry, layer["digest"], content)
                task.advance()
        _put(registry, oci_digest(b"{}"), b"{}")
        digest = registry.publish_manifest(_manifest(trees, _name(bundle), [layer for layer, _ in blobs]))
        return _published(registry, tree, digest, key, variants, sent_bytes=sent, changed=True)


def _put(registry: PublishingRegistry, digest: str, content: bytes) -> int:
    """Store a blob and return how many bytes had to be sent."""
    if registry.has_blob(digest):
        return 0
    registry.put_blob(content)
    return len(content)


def _is_published(
    registry: PublishingRegistry, manifest: dict[str, Any], trees: Sequence[FileTree], keys: Sequence[Path]
) -> bool:
    """Return whether the channel holds these releases, with signatures by all of these keys that verify."""
    folders = {"": trees[0], **{f"{tree.digest}/": tree for tree in trees[1:]}}
    held = {folder: registry.document(manifest, folder + RELEASE) for folder in folders}
    if held != {folder: release_index(tree) for folder, tree in folders.items()}:
        return False
    signed = all(
        _is_signed(content, registry.document(manifest, folder + RELEASE_SIGNATURE), keys, RELEASE_NAMESPACE)
        for folder, content in held.items()
    )
    return signed and all(is_stated_by(registry, manifest, key) for key in keys)


def is_stated_by(registry: PublishingRegistry, manifest: dict[str, Any], key: Path) -> bool:
    """Return whether a key signed the statement of the channel."""
    signatures = registry.document(manifest, STATEMENT_SIGNATURE)
    return _is_signed(registry.document(manifest, STATEMENT), signatures, (key,), CHANNEL_NAMESPACE)


def _is_signed(document: bytes, signatures: bytes, keys: Sequence[Path], namespace: str) -> bool:
    parts = split_signatures(signatures)
    with tempfile.TemporaryDirectory() as folder:
        return all(any(is_signed_by(document, part, key, namespace, Path(folder)) for part in parts) for key in keys)


def _name(bundle: Path) -> str:
    return str(json.loads((bundle / BUNDLE_MANIFEST).read_text(encoding="utf-8")).get("name", bundle.name))


def _blobs(trees: Sequence[FileTree], documents: dict[str, bytes]) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Yield each layer's descriptor and bytes."""
    for name, content in documents.items():
        yield _layer(DOCUMENT, content, {TITLE: name, SHA256: oci_digest(content).partition(":")[2]}), content
    for chunk in unique_chunks(file for tree in trees for file in tree.files):
        content, suffix = compress(chunk)
        yield _layer(CHUNK + ("+zlib" if suffix else ""), content, {SHA256: chunk.sha256}), content


def _layer(kind: str, content: bytes, annotations: dict[str, str]) -> dict[str, Any]:
    return {"mediaType": kind, "digest": oci_digest(content), "size": len(content), "annotations": annotations}


def _manifest(trees: Sequence[FileTree], name: str, layers: list[dict[str, Any]]) -> dict[str, Any]:
    tree = trees[0]
    config = {"mediaType": EMPTY, "digest": oci_digest(b"{}"), "size": 2}
    annotations = {
        TITLE: name,
        "org.opencontainers.image.description": f"Release {tree.digest[:12]} of the image classifier {name}",
        "org.opencontainers.image.vendor": "Edge Vision Toolkit",
        "org.opencontainers.image.version": tree.digest[:12],
        _BUNDLE: tree.parent,
        RELEASE_ANNOTATION: tree.digest,
        **({VARIANTS_ANNOTATION: ",".join(one.digest for one in trees)} if len(trees) > 1 else {}),
    }
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": RELEASE_TYPE, "config": config}
    return manifest | {"layers": layers, "annotations": annotations}


def _published(
    registry: PublishingRegistry,
    tree: FileTree,
    digest: str,
    key: Path | None,
    variants: VariantSet | None,
    *,
    sent_bytes: int,
    changed: bool,
) -> PublishedRelease:
    return PublishedRelease(
        channel=registry.where,
        digest=digest,
        bundle=tree.parent,
        release=tree.digest,
        signed=key is not None,
        sent_bytes=sent_bytes,
        changed=changed,
        kinds=variants.kinds if variants else {},
    )
