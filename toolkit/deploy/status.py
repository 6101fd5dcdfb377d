"""What each device serves, and whether that is what was deployed last."""

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
from toolkit.fleet import FleetResult, Shell
from toolkit.fleet.pool import DEFAULT_LIMIT
from toolkit.progress import Progress
from toolkit.store import Store

TIMEOUT_S = 1800.0
"""An old card takes its time to read a large network."""
_SERVING = {"deployed", "unchanged", "rolled-back"}
"""The outcomes after which a device serves the release that they name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceStatus:
    """One device's answer; None is "nothing" or "not known"."""

    device: str
    release: str | None
    bundle: str | None
    name: str | None
    """The bundle's, for people."""
    previous: str | None
    since: str | None
    lock: str | None
    """Who is changing it right now."""
    rollout: str | None = None
    """Whose rollout begins with it and is going on."""
    expected: str | None = None
    """The release that this workspace put there last."""
    drift: tuple[str, ...] = ()
    """How it differs from what it should be, in words: another release, files that were changed."""

    @property
    def as_expected(self) -> bool | None:
        """Whether it serves what this workspace put there last; None if it never did."""
        return None if self.expected is None else self.release == self.expected


def status(
    devices: Sequence[Device],
    *,
    store: Store | None = None,
    forks: int = DEFAULT_LIMIT,
    progress: Progress | None = None,
    files: bool = True,
) -> FleetResult[DeviceStatus]:
    """Ask every device; changes nothing, and needs no Python there. `files`: compare those of the release, too."""
    expected = _expected(store) if store is not None else {}

    def ask(device: Device) -> DeviceStatus:
        with fleet.connect(device) as shell:
            found = replace(read_status(device, shell), expected=expected.get(device.name))
            changed = _changed(device, shell, found.release) if files and found.release else ()
            return replace(found, drift=(*_other(found), *changed))

    return fleet.fan_out(devices, ask, forks, progress=progress, title="asking")


def read_status(device: Device, shell: Shell) -> DeviceStatus:
    """What one device serves."""
    return parse(device, shell.run(commands.status(device)).check(device, "asking what it serves").stdout)


def _other(found: DeviceStatus) -> Iterator[str]:
    if found.as_expected is False:
        yield f"serves {(found.release or 'nothing')[:12]} instead of {(found.expected or '')[:12]}"


def _changed(device: Device, shell: Shell, release: str) -> tuple[str, ...]:
    said = shell.run(commands.files(device, release), timeout=TIMEOUT_S).check(device, "reading the release's files")
    return drift(said.stdout, release)


def drift(said: str, release: str) -> tuple[str, ...]:
    """What of a release is not as it was released, from what `commands.files` prints; names are told, not bytes."""
    listing, _, rest = said.partition("\n")
    there = {
        path.removeprefix("./"): sha256 for sha256, _, path in (line.partition("  ") for line in rest.splitlines())
    }
    named = _json(listing).get("files") or {}
    should = {path: entry.get("sha256") for path, entry in named.items()} | {"release.json": release}
    off = {path: "was changed" if path in there else "is missing" for path in should if there.get(path) != should[path]}
    off |= {path: "is not part of the release" for path in there if path not in should and named}
    return tuple(f"{path} {what}" for path, what in sorted(off.items()))


def parse(device: Device, said: str) -> DeviceStatus:
    """From the lines that `commands.status` prints: `file:line` of each file, `link:seconds 'link' -> 'target'` of each link."""
    found: dict[str, str] = {}
    for line in said.splitlines():
        name, _, value = line.partition(":")
        found[name] = found.get(name, "") + value
    since, release = _link(found.get("current"))
    return DeviceStatus(
        device=device.name,
        release=release,
        bundle=_json(found.get("current/release.json")).get("bundle"),
        name=_json(found.get("current/manifest.json")).get("name"),
        previous=_link(found.get("previous"))[1],
        since=datetime.fromtimestamp(since, UTC).isoformat() if since is not None else None,
        lock=_lock(found.get("deploy.lock/info")),
        rollout=_lock(found.get("rollout.lock/info")),
    )


def _lock(info: str | None) -> str | None:
    return describe_lock(info) if info else None


def _link(told: str | None) -> tuple[int | None, str | None]:
    """When a link was made and the release that it leads to."""
    found = re.fullmatch(r"(\d+) '.*' -> '(?:.*/)?([^/']+)'", told or "")
    return (int(found[1]), found[2]) if found else (None, None)


def _json(text: str | None) -> Mapping[str, Any]:
    """An object, or an empty one where the file is missing or damaged: `toolkit deploy` says more about that."""
    try:
        value = json.loads(text or "{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _expected(store: Store) -> dict[str, str]:
    """The release that each device was left with, by this workspace's own record; the last word counts."""
    return {record.device: record.release for record in store.all(Deployment) if record.outcome in _SERVING}
