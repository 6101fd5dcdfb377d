"""What the devices that pull from a channel reported to its registry. Reports are not signed.

Each device writes its last outcome under a tag of its own, see toolkit/device/release/pull.py.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.bundle.release import release_tree
from toolkit.deploy.registry.oci_registry import (
    RELEASE_ANNOTATION,
    VARIANTS_ANNOTATION,
    PublishingRegistry,
    annotations_of,
    layers_of,
    open_registry,
)
from toolkit.device.errors import DeviceError
from toolkit.device.release.cohort import MAX_ENTRIES, DeviceIdentity
from toolkit.errors import FleetError

MAX_REPORT_BYTES = 64 << 10
_READERS = 4
"""Reports that are read at the same time."""


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
    labels: frozenset[str] = frozenset()

    @property
    def identity(self) -> DeviceIdentity:
        """Return what decides which cohorts the device is in, by its own account."""
        return DeviceIdentity(self.device, self.labels)


def fetch_reports(channel: str, *, credentials: Path | None = None, plain: bool = False) -> tuple[DeviceReport, ...]:
    """Return the last report of each device that reports to this channel, by name.

    A report that cannot be read counts as one device with the outcome "unreadable", and hides no other.

    Raises:
        FleetError: the registry cannot be reached, or refuses.
    """
    with open_registry(channel, credentials, plain=plain) as registry:
        _, manifest = registry.tagged(registry.tag)
        return read_reports(registry, reporting_devices(registry), _published_releases(manifest))


def _published_releases(manifest: dict[str, Any]) -> frozenset[str]:
    """Return the releases that a channel holds: of several variants, or one."""
    annotations = annotations_of(manifest)
    digests = annotations.get(VARIANTS_ANNOTATION) or annotations.get(RELEASE_ANNOTATION) or ""
    return frozenset(str(digests).split(",")) - {""}


def reporting_devices(registry: PublishingRegistry) -> list[str]:
    """Return the names of all devices that ever reported to a channel."""
    prefix = f"{registry.tag}-device-"
    return sorted(tag.removeprefix(prefix) for tag in registry.tags() if tag.startswith(prefix))


def read_reports(
    registry: PublishingRegistry, names: Iterable[str], published: Container[str]
) -> tuple[DeviceReport, ...]:
    """Return the last reports of these devices; `published` are the releases that the channel holds.

    Raises:
        DeviceError: the registry cannot be reached, or refuses.
    """

    def read(name: str) -> DeviceReport:
        return parse_report(name, _read_report(registry, name), published)

    with ThreadPoolExecutor(_READERS) as pool:
        return tuple(pool.map(read, names))


def _read_report(registry: PublishingRegistry, name: str) -> bytes:
    """Return the bytes of a device's report; empty if there are none, or too many."""
    _, manifest = registry.tagged(f"{registry.tag}-device-{name}")
    layer = next(iter(layers_of(manifest)), {})
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
        labels=_labels(report.get("labels")),
    )


def _texts(fields: object) -> dict[str, str]:
    """Return the fields of an object that are texts; none of anything else."""
    return {name: value for name, value in fields.items() if isinstance(value, str)} if isinstance(fields, dict) else {}


def _compared(shadow: object) -> str:
    decision = shadow.get("decision") if isinstance(shadow, dict) else None
    return decision if isinstance(decision, str) else ""


def _labels(labels: object) -> frozenset[str]:
    listed = labels[:MAX_ENTRIES] if isinstance(labels, list) else []
    return frozenset(label for label in listed if isinstance(label, str))


def require_canary(
    bundle: Path, channel: str, *, credentials: Path | None = None, plain: bool = False
) -> tuple[DeviceReport, ...]:
    """Return the reports of the devices of a channel that compared the bundle's release, agreed, and serve it.

    Raises:
        FleetError: there is none, one of them refused the release or failed, or the registry cannot be reached.
    """
    release = release_tree(bundle).digest
    reports = [one for one in fetch_reports(channel, credentials=credentials, plain=plain) if one.release == release]
    against = [one for one in reports if one.outcome not in {"deployed", "unchanged", "waiting"}]
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
