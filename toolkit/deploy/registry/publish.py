"""Publish a release to an OCI registry, from which devices pull it, and read the devices' reports.

A release is one artifact (an OCI 1.1 image manifest with an artifactType): its first layers describe the release, the others
are its chunks. Only chunks that the registry lacks are sent, and a device fetches only what it lacks. The device's side is
toolkit/device/release/pull.py.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Container, Iterator, Mapping, Sequence
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
from toolkit.deploy.registry.oci_registry import PublishingRegistry, open_registry
from toolkit.deploy.registry.release_variants import VariantSet, require_key, variant_trees
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
_BUNDLE, _RELEASE, _VARIANTS = f"{OWN}.bundle", f"{OWN}.release", f"{OWN}.variants"
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
    kinds: Mapping[str, str] = field(default_factory=dict)
    """The variant for each kind of device, where there are several."""


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
    """Whether it serves what the channel holds now, in any variant."""
    release: str = ""
    """The release that the outcome is about."""
    variant: str = ""
    """The variant that it took, or was to take; empty if the channel held one release alone."""
    variant_reason: str = ""
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
        statement = _document(registry, manifest, STATEMENT)
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
    held = {folder: _document(registry, manifest, folder + RELEASE) for folder in folders}
    if held != {folder: release_index(tree) for folder, tree in folders.items()}:
        return False
    if not keys:
        return True
    signed = (
        *((content, folder + RELEASE_SIGNATURE, RELEASE_NAMESPACE) for folder, content in held.items()),
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
        _RELEASE: tree.digest,
        **({_VARIANTS: ",".join(one.digest for one in trees)} if len(trees) > 1 else {}),
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


def fetch_reports(channel: str, *, credentials: Path | None = None, plain: bool = False) -> tuple[DeviceReport, ...]:
    """Return the last report of each device that reports to this channel, by name.

    A report that cannot be read counts as one device with the outcome "unreadable", and hides no other.

    Raises:
        FleetError: the registry cannot be reached, or refuses.
    """
    with open_registry(channel, credentials, plain=plain) as registry:
        _, manifest = registry.tagged(registry.tag)
        published = _published_releases(manifest)
        prefix = f"{registry.tag}-device-"
        tags = sorted(tag for tag in registry.tags() if tag.startswith(prefix))
        return tuple(parse_report(tag.removeprefix(prefix), _read_report(registry, tag), published) for tag in tags)


def _published_releases(manifest: dict[str, Any]) -> frozenset[str]:
    """Return the releases that a channel holds: of several variants, or one."""
    annotations = _annotations(manifest)
    return frozenset(str(annotations.get(_VARIANTS) or annotations.get(_RELEASE) or "").split(",")) - {""}


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


def parse_report(device: str, content: bytes, published: Container[str]) -> DeviceReport:
    """Parse what a device reported, whatever it is; `published` are the releases that the channel holds."""
    try:
        report = json.loads(content)
    except (ValueError, RecursionError):
        report = None
    if not isinstance(report, dict):
        report = {"outcome": "unreadable", "reason": "its report is not a JSON object of at most 64 KiB"}
    text = _texts(report)
    variant = _texts(report.get("variant"))
    return DeviceReport(
        device=device,
        serves=text.get("serves"),
        outcome=text.get("outcome", "unknown"),
        reason=text.get("reason", ""),
        at=text.get("at", ""),
        bundle=text.get("bundle", ""),
        as_published=text.get("serves", "") in published,
        release=text.get("release", ""),
        variant=variant.get("name", ""),
        variant_reason=variant.get("why", ""),
        compared=_compared(report.get("shadow")),
    )


def _texts(fields: object) -> dict[str, str]:
    """Return the fields of an object that are texts; none of anything else."""
    return {name: value for name, value in fields.items() if isinstance(value, str)} if isinstance(fields, dict) else {}


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
