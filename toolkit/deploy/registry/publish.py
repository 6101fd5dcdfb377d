"""A release into an OCI registry, for devices that fetch it themselves, and what they have told of it since.

One artifact (container image manifest of OCI 1.1 with an artifactType): its first layers describe the release, the others are its pieces,
so those that the registry has are not sent again, and a device fetches only what it lacks. The device's side is
toolkit/device/release/pull.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.bundle.release import release_tree
from toolkit.deploy.channel_statement import DEFAULT_STATEMENT, StatementOptions, counter_of, is_due
from toolkit.deploy.offline import release_documents
from toolkit.deploy.registry.oci_registry import MANIFEST, Channel, Registry, digest_of
from toolkit.device.release.freshness import STATEMENT
from toolkit.fleet.transfer.diff import unique_chunks
from toolkit.fleet.transfer.stream import compress
from toolkit.fleet.transfer.tree import FileTree
from toolkit.progress import Progress, Silent

RELEASE = "application/vnd.edge-vision-toolkit.release.v1"
DOCUMENT = "application/vnd.edge-vision-toolkit.document.v1"
CHUNK = "application/vnd.edge-vision-toolkit.chunk.v1"
EMPTY = "application/vnd.oci.empty.v1+json"
TITLE = "org.opencontainers.image.title"
SHA256 = "edge-vision-toolkit.sha256"


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What a channel holds from now on."""

    channel: str
    digest: str
    """The artifact's."""
    bundle: str
    release: str
    signed: bool
    sent_bytes: int
    """0: every piece was there already."""
    changed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceReport:
    """What a device that fetches its releases told last."""

    device: str
    serves: str | None
    outcome: str
    reason: str
    at: str
    """By the device's clock."""
    bundle: str
    as_published: bool
    """Whether it serves what the channel holds now."""


def publish(
    bundle: Path,
    channel: Channel,
    *,
    key: Path | None = None,
    credentials: Path | None = None,
    plain: bool = False,
    progress: Progress | None = None,
    options: StatementOptions = DEFAULT_STATEMENT,
) -> Published:
    """Make the channel hold the bundle's release, signed by an SSH key; pieces that are there already are not sent.

    Raises:
        BundleError: the bundle is not what its manifest says.
        UsageError: the key cannot sign.
        FleetError: the registry cannot be reached, or refuses.
    """
    tree = release_tree(bundle)
    with Registry(channel, credentials, plain=plain) as registry:
        before, manifest = registry.manifest(channel.tag)
        statement = _statement(registry, manifest)
        renewed = key is not None and is_due(statement, options)
        if _is_there(manifest, tree, signed=key is not None) and not renewed:
            return _published(channel, tree, before, key, sent_bytes=0, changed=False)
        layers, sent = [], 0
        documents = release_documents(tree, key, f"{channel.name}:{channel.tag}", options, counter_of(statement))
        blobs = list(_blobs(tree, documents))
        with (progress or Silent()).track("publishing", len(blobs)) as task:
            for layer, content in blobs:
                sent += _put(registry, layer["digest"], content)
                layers.append(layer)
                task.advance()
        _put(registry, digest_of(b"{}"), b"{}")
        digest = registry.put_manifest(_manifest(tree, layers))
    return _published(channel, tree, digest, key, sent_bytes=sent, changed=True)


def _put(registry: Registry, digest: str, content: bytes) -> int:
    """The bytes that had to be sent."""
    if registry.has_blob(digest):
        return 0
    registry.put_blob(content)
    return len(content)


def _is_there(manifest: dict[str, Any], tree: FileTree, *, signed: bool) -> bool:
    """Whether the channel holds this very release already, and is signed if that is wanted; signatures differ each time."""
    notes = [layer.get("annotations", {}) for layer in manifest.get("layers", ())]
    release = any(note.get(TITLE) == "release.json" and note.get(SHA256) == tree.digest for note in notes)
    return release and (not signed or any(note.get(TITLE) == "release.json.sig" for note in notes))


def _statement(registry: Registry, manifest: dict[str, Any]) -> bytes:
    """What the channel states now; empty if nothing."""
    for layer in manifest.get("layers", ()):
        if layer.get("annotations", {}).get(TITLE) == STATEMENT:
            return registry.blob(layer["digest"])
    return b""


def _blobs(tree: FileTree, documents: dict[str, bytes]) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Each layer's descriptor and bytes."""
    for name, content in documents.items():
        yield _layer(DOCUMENT, content, {TITLE: name, SHA256: digest_of(content).partition(":")[2]}), content
    for piece in unique_chunks(tree.files):
        content, form = compress(piece)
        yield _layer(CHUNK + ("+zlib" if form else ""), content, {SHA256: piece.sha256}), content


def _layer(kind: str, content: bytes, notes: dict[str, str]) -> dict[str, Any]:
    return {"mediaType": kind, "digest": digest_of(content), "size": len(content), "annotations": notes}


def _manifest(tree: FileTree, layers: list[dict[str, Any]]) -> dict[str, Any]:
    config = {"mediaType": EMPTY, "digest": digest_of(b"{}"), "size": 2}
    notes = {"edge-vision-toolkit.bundle": tree.parent, "edge-vision-toolkit.release": tree.digest}
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": RELEASE, "config": config}
    return manifest | {"layers": layers, "annotations": notes}


def _published(
    channel: Channel, tree: FileTree, digest: str, key: Path | None, *, sent_bytes: int, changed: bool
) -> Published:
    return Published(
        channel=str(channel),
        digest=digest,
        bundle=tree.parent,
        release=tree.digest,
        signed=key is not None,
        sent_bytes=sent_bytes,
        changed=changed,
    )


def fetch_reports(
    channel: Channel, *, credentials: Path | None = None, plain: bool = False
) -> tuple[DeviceReport, ...]:
    """What each device that reports to this channel told last, by name.

    Raises:
        FleetError: the registry cannot be reached, or refuses.
    """
    prefix = f"{channel.tag}-device-"
    with Registry(channel, credentials, plain=plain) as registry:
        _, manifest = registry.manifest(channel.tag)
        wanted = manifest.get("annotations", {}).get("edge-vision-toolkit.release")
        names = sorted(tag for tag in registry.tags() if tag.startswith(prefix))
        return tuple(_told(tag.removeprefix(prefix), _state(registry, tag), wanted) for tag in names)


def _state(registry: Registry, tag: str) -> dict[str, Any]:
    _, manifest = registry.manifest(tag)
    state: dict[str, Any] = json.loads(registry.blob(manifest["layers"][0]["digest"]))
    return state


def _told(device: str, state: dict[str, Any], wanted: str | None) -> DeviceReport:
    return DeviceReport(
        device=device,
        serves=state.get("serves"),
        outcome=str(state.get("outcome", "unknown")),
        reason=str(state.get("reason", "")),
        at=str(state.get("at", "")),
        bundle=str(state.get("bundle", "")),
        as_published=wanted is not None and state.get("serves") == wanted,
    )
