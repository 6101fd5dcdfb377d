"""What each device serves, and whether that is the last deployed release.

The output of a device is untrusted: an invalid field counts as unknown, and the output of one device never affects another.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from toolkit import fleet
from toolkit.artifacts.fleet import Deployment, Device
from toolkit.deploy import commands
from toolkit.deploy.lock import describe_lock
from toolkit.deploy.session import text_or_none
from toolkit.device.layout import CURRENT, DEPLOY_LOCK, LOCK_INFO, MANIFEST, PREVIOUS, RELEASE, ROLLOUT_LOCK, STATE_FILE
from toolkit.fleet import FleetResult, Shell
from toolkit.fleet.pool import DEFAULT_LIMIT
from toolkit.progress import Progress
from toolkit.store import Store

TIMEOUT_S = 1800.0
"""An old card takes its time to read a large network."""
_IN_MEMORY = {"tmpfs", "ramfs"}
"""File systems that a restart empties."""
INSTALLED, SENT = "root", "sent"
_SERVING = {"deployed", "unchanged", "rolled-back"}
"""The outcomes after which a device serves the release that they name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceStatus:
    """The status of one device; None means "nothing" or "unknown"."""

    device: str
    release: str | None
    bundle: str | None
    name: str | None
    """Of the bundle."""
    previous: str | None
    since: str | None
    lock: str | None
    """Who is changing it right now."""
    rollout: str | None = None
    """Whose rollout begins with it and is in progress."""
    expected: str | None = None
    """The release that this workspace deployed last."""
    variant_reason: str = ""
    """Why it has this variant of the model; empty if it serves another release, or the user named the bundle."""
    agent: str = SENT
    """Whose code judges releases there: "root", installed by Ansible, or "sent" by the deploying account."""
    drift: tuple[str, ...] = ()
    """How it differs from what was deployed: another release, changed files."""
    volatile: bool = False
    """Whether its root folder is in memory, directly or below an overlay, so that a restart forgets its releases."""

    @property
    def as_expected(self) -> bool | None:
        """Whether it serves what this workspace deployed last; None if it never deployed there."""
        return None if self.expected is None else self.release == self.expected


def status(
    devices: Sequence[Device],
    *,
    store: Store | None = None,
    forks: int = DEFAULT_LIMIT,
    progress: Progress | None = None,
    files: bool = True,
) -> FleetResult[DeviceStatus]:
    """Return the status of every device; changes nothing and needs no Python there. `files`: compare the release's files."""
    expected = _last_deployments(store) if store is not None else {}

    def read(device: Device) -> DeviceStatus:
        with fleet.connect(device) as shell:
            current = _compared(read_status(device, shell), expected.get(device.name))
            changed = _changed(device, shell, current.release) if files and current.release else ()
            return replace(current, drift=(*_other_release(current), *changed))

    return fleet.fan_out(devices, read, forks, progress=progress, title="asking")


def read_status(device: Device, shell: Shell) -> DeviceStatus:
    """Return the status of one device."""
    return parse(device, shell.run(commands.status(device)).check(device, "reading its status").stdout)


def _compared(current: DeviceStatus, last: Deployment | None) -> DeviceStatus:
    """Return the status with what this workspace deployed there last."""
    if last is None:
        return current
    return replace(
        current,
        expected=last.release,
        variant_reason=last.variant_reason if last.release == current.release else current.variant_reason,
    )


def _other_release(current: DeviceStatus) -> Iterator[str]:
    if current.as_expected is False:
        yield f"serves {(current.release or 'nothing')[:12]} instead of {(current.expected or '')[:12]}"


def _changed(device: Device, shell: Shell, release: str) -> tuple[str, ...]:
    listing = shell.run(commands.files(device, release), timeout=TIMEOUT_S).check(device, "reading the release's files")
    return drift(listing.stdout, release)


def drift(output: str, release: str) -> tuple[str, ...]:
    """Return how a release's files differ from what was released, from the output of `commands.files`."""
    index, _, rest = output.partition("\n")
    actual = {
        path.removeprefix("./"): sha256 for sha256, _, path in (line.partition("  ") for line in rest.splitlines())
    }
    listed = _json(index).get("files")
    entries = listed if isinstance(listed, dict) else {}
    expected = {path: _digest(entry) for path, entry in entries.items()} | {RELEASE: release}
    changes = {
        path: "was changed" if path in actual else "is missing"
        for path, sha256 in expected.items()
        if actual.get(path) != sha256
    }
    changes |= {path: "is not part of the release" for path in actual if path not in expected and entries}
    return tuple(f"{path} {change}" for path, change in sorted(changes.items()))


def _digest(entry: object) -> object:
    return entry.get("sha256") if isinstance(entry, dict) else None


def parse(device: Device, output: str) -> DeviceStatus:
    """Parse the output of `commands.status`: `file:line` of each file, `link:seconds 'link' -> 'target'` of each link."""
    fields: dict[str, str] = {}
    for line in output.splitlines():
        name, _, value = line.partition(":")
        fields[name] = fields.get(name, "") + value
    since, release = _link(fields.get(CURRENT))
    return DeviceStatus(
        device=device.name,
        release=release,
        bundle=text_or_none(_json(fields.get(f"{CURRENT}/{RELEASE}")).get("bundle")),
        name=text_or_none(_json(fields.get(f"{CURRENT}/{MANIFEST}")).get("name")),
        previous=_link(fields.get(PREVIOUS))[1],
        variant_reason=_variant_reason(_json(fields.get(STATE_FILE)), release),
        since=since,
        lock=_lock(fields.get(f"{DEPLOY_LOCK}/{LOCK_INFO}")),
        rollout=_lock(fields.get(f"{ROLLOUT_LOCK}/{LOCK_INFO}")),
        volatile=fields.get("storage") in _IN_MEMORY,
        agent=_agent(fields.get("agent")),
    )


def _variant_reason(state: Mapping[str, Any], release: str | None) -> str:
    """Return why a device that pulls, or that installed a file, took the variant that it serves; empty if it is another."""
    variant = state.get("variant")
    why = variant.get("why") if isinstance(variant, dict) and state.get("release") == release else None
    return text_or_none(why) or ""


def _agent(mode: str | None) -> str:
    """Return whose agent it is, from its owner and its permissions: one that others can write is nobody's."""
    match = re.fullmatch(r"0 [0-7]?[0-7]([0-7])([0-7])", mode or "")
    return INSTALLED if match and not any(int(digit) & 2 for digit in match.groups()) else SENT


def _lock(info: str | None) -> str | None:
    return describe_lock(info) if info else None


def _link(text: str | None) -> tuple[str | None, str | None]:
    """Return when a link was made and the release that it leads to."""
    match = re.fullmatch(r"([0-9]{1,11}) '.*' -> '(?:.*/)?([^/']+)'", text or "")
    if match is None:
        return None, None
    try:
        return datetime.fromtimestamp(int(match[1]), UTC).isoformat(), match[2]
    except (ValueError, OverflowError, OSError):
        return None, match[2]


def _json(text: str | None) -> Mapping[str, Any]:
    """Return a JSON object; an empty one if the text is missing or damaged, which `toolkit deploy` explains."""
    try:
        value = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def deployed_releases(store: Store) -> dict[str, str]:
    """Return the release that each device was left with, by this workspace's own records; the last one counts."""
    return {device: record.release for device, record in _last_deployments(store).items()}


def _last_deployments(store: Store) -> dict[str, Deployment]:
    return {record.device: record for record in store.all(Deployment) if record.outcome in _SERVING}
