"""Publish a release to an OCI registry, from which devices pull it, and read the devices' reports.

A release is one artifact (an OCI 1.1 image manifest with an artifactType): its first layers describe the release, the others
are its chunks. Only chunks that the registry lacks are sent, and a device fetches only what it lacks. The device's side is
toolkit/device/release/pull.py.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.bundle.bill_of_materials import write_bills
from toolkit.bundle.release import release_tree
from toolkit.deploy.offline import release_documents
from toolkit.deploy.registry.channel_statement import (
    DEFAULT_STATEMENT,
    StatementOptions,
    counter_of,
    inherit_rules,
    is_due,
)
from toolkit.deploy.registry.oci_registry import PublishingRegistry, open_registry
from toolkit.device.errors import DeviceError
from toolkit.device.layout import MANIFEST as BUNDLE_MANIFEST
from toolkit.device.layout import RELEASE, RELEASE_SIGNATURE
from toolkit.device.release.freshness import STATEMENT, STATEMENT_SIGNATURE
from toolkit.device.release.oci_registry import MANIFEST, oci_digest
from toolkit.device.release.pull import CHUNK, EMPTY, OWN, SHA256, TITLE
from toolkit.device.release.signature import CHANNEL as CHANNEL_NAMESPACE
from toolkit.device.release.signature import RELEASE as RELEASE_NAMESPACE
from toolkit.device.release.signature import split_signatures
from toolkit.errors import FleetError
from toolkit.fleet.transfer.diff import unique_chunks
from toolkit.fleet.transfer.stream import compress
from toolkit.fleet.transfer.tree import FileTree
from toolkit.progress import Progress, Silent
from toolkit.system.ssh_signatures import is_signed_by

RELEASE_TYPE = "application/vnd.edge-vision-toolkit.release.v1"
DOCUMENT = "application/vnd.edge-vision-toolkit.document.v1"
_BUNDLE, _RELEASE = f"{OWN}.bundle", f"{OWN}.release"
MAX_REPORT_BYTES = 64 << 10


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


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceReport:
    """The last report of a device that pulls its releases. Its texts come from the device and are not trusted."""

    device: str
    serves: str | None
    outcome: str
    reason: str
    at: str
    """By the device's clock."""
    bundle: str
    as_published: bool
    """Whether it serves what the channel holds now."""
    release: str = ""
    """The release that the outcome is about."""
    compared: str = ""
    """How its comparison with the serving release ended: "passed", "refused" or "undecided"; empty without one."""


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
) -> PublishedRelease:
    """Publish the bundle's release to a channel, signed by an SSH key; chunks that the registry has are not sent.

    The release's bill of materials and VEX document go to the folder `bills`.

    Raises:
        BundleError: the bundle differs from its manifest.
        UsageError: the key cannot sign, or the channel is not valid.
        FleetError: the registry cannot be reached, or refuses.
    """
    tree = release_tree(bundle)
    if bills is not None:
        write_bills(tree, bundle, bills)
    with open_registry(channel, credentials, plain=plain) as registry:
        before, manifest = registry.tagged(registry.tag)
        statement = _document(registry, manifest, STATEMENT)
        keys = () if key is None else (key, *options.cosigners)
        options = inherit_rules(statement, options, len(keys))
        renewed = key is not None and is_due(statement, options)
        if not renewed and _is_published(registry, manifest, tree, keys):
            return _published(registry, tree, before, key, sent_bytes=0, changed=False)
        documents = release_documents(tree, key, registry.channel, options, counter_of(statement))
        blobs = list(_blobs(tree, documents))
        sent = 0
        with (progress or Silent()).track("publishing files", len(blobs)) as task:
            for layer, content in blobs:
                sent += _put(registry, layer["digest"], content)
                task.advance()
        _put(registry, oci_digest(b"{}"), b"{}")
        digest = registry.publish_manifest(_manifest(tree, _name(bundle), [layer for layer, _ in blobs]))
        return _published(registry, tree, digest, key, sent_bytes=sent, changed=True)


def _put(registry: PublishingRegistry, digest: str, content: bytes) -> int:
    """Store a blob and return how many bytes had to be sent."""
    if registry.has_blob(digest):
        return 0
    registry.put_blob(content)
    return len(content)


def _is_published(registry: PublishingRegistry, manifest: dict[str, Any], tree: FileTree, keys: Sequence[Path]) -> bool:
    """Return whether the channel holds this release, with signatures by all of these keys that verify."""
    if _document(registry, manifest, RELEASE) != _source(tree):
        return False
    if not keys:
        return True
    signed = (
        (_source(tree), RELEASE_SIGNATURE, RELEASE_NAMESPACE),
        (_document(registry, manifest, STATEMENT), STATEMENT_SIGNATURE, CHANNEL_NAMESPACE),
    )
    with tempfile.TemporaryDirectory() as folder:
        return all(
            any(is_signed_by(document, part, key, namespace, Path(folder)) for part in parts)
            for document, name, namespace in signed
            for parts in (split_signatures(_document(registry, manifest, name)),)
            for key in keys
        )


def _name(bundle: Path) -> str:
    return str(json.loads((bundle / BUNDLE_MANIFEST).read_text(encoding="utf-8")).get("name", bundle.name))


def _source(tree: FileTree) -> bytes:
    source = next(file.source for file in tree.files if file.path == RELEASE)
    assert isinstance(source, bytes)  # noqa: S101 - release.json is generated, never read from a file
    return source


def _document(registry: PublishingRegistry, manifest: dict[str, Any], name: str) -> bytes:
    """Return a document of the channel's release; empty if it is missing or cannot be read."""
    for layer in _layers(manifest):
        if _annotations(layer).get(TITLE) == name:
            try:
                return registry.blob(str(layer.get("digest")))
            except DeviceError:
                return b""
    return b""


def _layers(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    layers = manifest.get("layers")
    return [layer for layer in layers if isinstance(layer, dict)] if isinstance(layers, list) else []


def _annotations(value: dict[str, Any]) -> dict[str, Any]:
    annotations = value.get("annotations")
    return annotations if isinstance(annotations, dict) else {}


def _blobs(tree: FileTree, documents: dict[str, bytes]) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Yield each layer's descriptor and bytes."""
    for name, content in documents.items():
        yield _layer(DOCUMENT, content, {TITLE: name, SHA256: oci_digest(content).partition(":")[2]}), content
    for chunk in unique_chunks(tree.files):
        content, suffix = compress(chunk)
        yield _layer(CHUNK + ("+zlib" if suffix else ""), content, {SHA256: chunk.sha256}), content


def _layer(kind: str, content: bytes, annotations: dict[str, str]) -> dict[str, Any]:
    return {"mediaType": kind, "digest": oci_digest(content), "size": len(content), "annotations": annotations}


def _manifest(tree: FileTree, name: str, layers: list[dict[str, Any]]) -> dict[str, Any]:
    config = {"mediaType": EMPTY, "digest": oci_digest(b"{}"), "size": 2}
    annotations = {
        TITLE: name,
        "org.opencontainers.image.description": f"Release {tree.digest[:12]} of the image classifier {name}",
        "org.opencontainers.image.vendor": "Edge Vision Toolkit",
        "org.opencontainers.image.version": tree.digest[:12],
        _BUNDLE: tree.parent,
        _RELEASE: tree.digest,
    }
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": RELEASE_TYPE, "config": config}
    return manifest | {"layers": layers, "annotations": annotations}


def _published(
    registry: PublishingRegistry, tree: FileTree, digest: str, key: Path | None, *, sent_bytes: int, changed: bool
) -> PublishedRelease:
    return PublishedRelease(
        channel=registry.where,
        digest=digest,
        bundle=tree.parent,
        release=tree.digest,
        signed=key is not None,
        sent_bytes=sent_bytes,
        changed=changed,
    )


def fetch_reports(channel: str, *, credentials: Path | None = None, plain: bool = False) -> tuple[DeviceReport, ...]:
    """Return the last report of each device that reports to this channel, by name.

    A report that cannot be read counts as one device with the outcome "unreadable", and hides no other.

    Raises:
        FleetError: the registry cannot be reached, or refuses.
    """
    with open_registry(channel, credentials, plain=plain) as registry:
        _, manifest = registry.tagged(registry.tag)
        published = _annotations(manifest).get(_RELEASE)
        prefix = f"{registry.tag}-device-"
        tags = sorted(tag for tag in registry.tags() if tag.startswith(prefix))
        return tuple(parse_report(tag.removeprefix(prefix), _read_report(registry, tag), published) for tag in tags)


def _read_report(registry: PublishingRegistry, tag: str) -> bytes:
    """Return the bytes of a device's report; empty if there are none, or too many."""
    _, manifest = registry.tagged(tag)
    layer = next(iter(_layers(manifest)), {})
    size = layer.get("size")
    if not isinstance(size, int) or not 0 < size <= MAX_REPORT_BYTES:
        return b""
    try:
        return registry.blob(str(layer.get("digest")))
    except DeviceError:
        return b""


def parse_report(device: str, content: bytes, published: object) -> DeviceReport:
    """Parse what a device reported, whatever it is; `published` is the release that the channel holds."""
    try:
        report = json.loads(content)
    except (ValueError, RecursionError):
        report = None
    if not isinstance(report, dict):
        report = {"outcome": "unreadable", "reason": "its report is not a JSON object of at most 64 KiB"}
    text = {name: value for name, value in report.items() if isinstance(value, str)}
    return DeviceReport(
        device=device,
        serves=text.get("serves"),
        outcome=text.get("outcome", "unknown"),
        reason=text.get("reason", ""),
        at=text.get("at", ""),
        bundle=text.get("bundle", ""),
        as_published=isinstance(published, str) and text.get("serves") == published,
        release=text.get("release", ""),
        compared=_compared(report.get("shadow")),
    )


def _compared(shadow: object) -> str:
    decision = shadow.get("decision") if isinstance(shadow, dict) else None
    return decision if isinstance(decision, str) else ""


def require_canary(
    bundle: Path, channel: str, *, credentials: Path | None = None, plain: bool = False
) -> tuple[DeviceReport, ...]:
    """Return the reports of the devices of a channel that compared the bundle's release, agreed, and serve it.

    Raises:
        FleetError: there is none, one of them refused the release or failed, or the registry cannot be reached.
    """
    release = release_tree(bundle).digest
    reports = [one for one in fetch_reports(channel, credentials=credentials, plain=plain) if one.release == release]
    against = [one for one in reports if one.outcome not in {"deployed", "unchanged"}]
    passed = tuple(one for one in reports if one.compared == "passed" and one.serves == release)
    if against:
        texts = "; ".join(f"{one.device} {one.outcome}: {one.reason}" for one in against)
        raise FleetError(f"release {release[:12]} did not pass there: {texts}", where=channel)
    if not passed:
        remedy = f"publish it there with --shadow, wait for a device to pull it (toolkit status --channel {channel}), run this again"
        raise FleetError(
            f"no device reports that it compared release {release[:12]} and serves it", where=channel, remedy=remedy
        )
    return passed
